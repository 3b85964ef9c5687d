"""The registry, and that reading it is cheap."""

import subprocess
import sys
from dataclasses import FrozenInstanceError, fields

import pytest
import torch

import bnviz.nn
from bnviz.nn import VARIANTS

each_variant = pytest.mark.parametrize("key", list(VARIANTS))
SETTINGS = {"eps": 1e-5, "momentum": 0.1, "device": None, "dtype": None}


def test_order_and_keys():
    assert list(VARIANTS) == ["note", "composite", "fused", "builtin", "none"]
    assert all(key == variant.key for key, variant in VARIANTS.items())
    assert [v.key for v in VARIANTS.values() if v.hand_written] == ["note", "composite", "fused"]


@each_variant
def test_every_entry_is_complete(key):
    variant = VARIANTS[key]
    assert all(getattr(variant, field.name) not in ("", None) for field in fields(variant))
    assert variant.sentence.endswith(".")
    with pytest.raises(FrozenInstanceError):
        variant.label = "other"


def test_labels_tell_variants_apart():
    for field in ("label", "sentence"):
        assert len({getattr(v, field) for v in VARIANTS.values()}) == len(VARIANTS)


@each_variant
@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 5, 5)], ids=["fc", "conv"])
def test_factories_make_layers_of_both_kinds(key, shape):
    layer = VARIANTS[key].factory(3, len(shape), **SETTINGS)
    x = torch.randn(shape)
    y = layer(x)
    assert y.shape == shape
    if key == "none":
        assert y is x
    else:
        assert y.std(correction=0).item() == pytest.approx(1, abs=1e-3)


@each_variant
def test_factories_refuse_unknown_options_and_dims(key):
    with pytest.raises(TypeError, match="no_such_option"):
        VARIANTS[key].factory(3, 2, **SETTINGS, no_such_option=1)
    with pytest.raises(ValueError, match="num_dims: got 3"):
        VARIANTS[key].factory(3, 3, **SETTINGS)


def test_reading_the_registry_does_not_import_torch():
    code = "import sys, bnviz.nn, bnviz.nn.variants; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_public_name_is_there():
    assert set(bnviz.nn.__all__) <= set(dir(bnviz.nn))
    for name in bnviz.nn.__all__:
        assert getattr(bnviz.nn, name).__doc__
    with pytest.raises(AttributeError, match="NoSuchLayer"):
        _ = bnviz.nn.NoSuchLayer
