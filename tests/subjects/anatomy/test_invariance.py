"""Scale, shift and bias before BN, in the trained weights of the recorded run."""

import copy

import numpy as np
import pytest
import torch

from bnviz.errors import ConfigError
from bnviz.nn.state import snapshot
from bnviz.records.schema import LAYERS
from bnviz.records.store import recorded_run
from bnviz.subjects.anatomy.invariance import bias_gradients, layer_before, rescaled
from bnviz.training.checkpoints import model_at

VARIANTS = ("note", "composite", "builtin")


@pytest.fixture(scope="module")
def images(sample):
    return torch.tensor(sample.test_images[:64]), torch.tensor(sample.test_labels[:64]).long()


def trained(variant="builtin", dtype=torch.float32):
    return model_at(recorded_run(), variant, 400).to(dtype)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("layer", LAYERS)
def test_the_output_stays_when_the_weights_before_are_scaled_and_shifted(variant, layer, images):
    found = rescaled(trained(variant), layer, images[0], (1.0, 10.0, 100.0), 2.0)
    assert (found["difference"] < 1e-3).all()
    plain = rescaled(trained(variant), layer, images[0], (10.0,), 0.0)
    assert found["input_mean"].iloc[1] == pytest.approx(plain["input_mean"].iloc[0] + 2, rel=1e-3)
    assert found["input_std"].iloc[2] == pytest.approx(100 * found["input_std"].iloc[0], rel=1e-4)


def test_what_remains_is_eps_alone_and_follows_the_formula(images):
    """In float64 there is no rounding to hide behind."""
    model = trained("builtin", torch.float64)
    found = rescaled(model, "conv2", images[0], (1e-3, 1e-2, 0.1, 10.0, 1e3), 0.0)
    np.testing.assert_allclose(found["difference"], found["predicted"], rtol=1e-6)
    assert found["difference"].iloc[0] > 1 > 1e-3 > found["difference"].iloc[-1]
    model.norm_layers()["conv2"].eps = 1e-12
    less = rescaled(model, "conv2", images[0], (1e-2,), 0.0)
    assert less["difference"].iloc[0] < 1e-6 * found["difference"].iloc[1]


def test_the_scaled_output_is_that_of_a_model_with_scaled_weights(images):
    """The same by another way: change a copy's weights and run all of it."""
    seen = []
    for k, s in ((1.0, 0.0), (0.01, 0.5)):
        model = trained("builtin", torch.float64).train()
        before = layer_before(model, "fc1")
        with torch.no_grad():
            before.weight.mul_(k)
            before.bias.mul_(k).add_(s)
        model.norm_layers()["fc1"].register_forward_hook(
            lambda _m, _i, out: seen.append(out.detach())
        )
        model(images[0].double().div(255).unsqueeze(1))
    plain, changed = seen
    wanted = float((changed - plain).abs().max() / plain.std(correction=0))
    found = rescaled(trained("builtin", torch.float64), "fc1", images[0], (0.01,), 0.5)
    assert found["difference"].iloc[0] == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_bias_before_bn_has_no_gradient_and_the_last_has(variant, images):
    found = bias_gradients(trained(variant, torch.float64), *images).set_index("layer")
    assert list(found.index) == [*LAYERS, "out"]
    assert (found["weights"] > 1e-6).all()
    assert (found.loc[list(LAYERS), "bias"] < 1e-12).all()
    assert found.loc["out", "bias"] > 1e-4


def test_without_bn_the_biases_have_gradients(images):
    found = bias_gradients(trained("none"), *images)
    assert (found["bias"] > 0.05 * found["weights"]).all()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("training", [True, False])
def test_the_model_and_the_generator_are_as_before(variant, training, images):
    model = trained(variant).train(training)
    before, random = copy.deepcopy(snapshot(model)), torch.get_rng_state()
    rescaled(model, "fc1", images[0], (0.1, 10.0), 1.0)
    bias_gradients(model, *images)
    after = snapshot(model)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(module.training == training for module in model.modules())
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(random, torch.get_rng_state())
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("bad", [{"scales": (0.0,)}, {"scales": (-1.0,)}, {"shift": np.inf}])
def test_scales_and_shifts_that_are_none_are_refused(bad, images):
    with pytest.raises(ConfigError, match="allowed: finite numbers"):
        rescaled(trained(), "fc1", images[0], **({"scales": (1.0,), "shift": 0.0} | bad))
    with pytest.raises(ConfigError, match="layer: got 'conv9'"):
        rescaled(trained(), "conv9", images[0], (1.0,), 0.0)
