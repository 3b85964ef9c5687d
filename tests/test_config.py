import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnviz.config import PRESETS, Quirks, RunConfig, good_fields
from bnviz.errors import ConfigError
from bnviz.nn.variants import VARIANTS
from bnviz.settings import Setting

finite = {"allow_nan": False, "allow_infinity": False}
configs = st.builds(
    RunConfig.parse,
    dataset=st.sampled_from(["fashion-mnist", "fashion-mnist-sample"]),
    variants=st.lists(st.sampled_from(list(VARIANTS)), min_size=1, unique=True).map(tuple),
    activation=st.sampled_from(["sigmoid", "relu"]),
    batch_size=st.integers(2, 4096),
    steps=st.none() | st.integers(1, 10_000_000),
    lr=st.floats(1e-8, 100, **finite),
    optimizer=st.sampled_from(["adam", "sgd"]),
    momentum=st.floats(0, 1, **finite),
    eps=st.floats(1e-12, 1, **finite),
    seed=st.integers(0, 2**32 - 1),
    device=st.sampled_from(["auto", "cpu", "cuda", "mps"]),
    dtype=st.sampled_from(["float32", "float64"]),
    eval_every=st.integers(1, 10_000),
    gradients=st.booleans(),
    memory_limit_mib=st.integers(1, 10_000),
    quirks=st.builds(Quirks, **{name: st.booleans() for name in Quirks.model_fields}),
)


@given(configs)
@settings(max_examples=200, deadline=None)
def test_a_config_survives_json(config):
    assert RunConfig.from_json(config.model_dump_json()) == config


def test_a_link_says_none_for_the_cumulative_average():
    assert good_fields({"momentum": "none"}) == ({"momentum": None}, [])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"batch_size": 0}, ["batch_size", "0", "at least 1", "at most 4096"]),
        ({"batch_size": "many"}, ["batch_size", "'many'", "whole number"]),
        ({"momentum": 1.5}, ["momentum", "1.5", "at least 0", "at most 1", "none"]),
        ({"momentum": float("nan")}, ["momentum", "nan"]),
        ({"eps": 0}, ["eps", "0", "more than 0"]),
        ({"eps": -1e-5}, ["eps", "-1e-05", "more than 0"]),
        ({"variants": "builtn"}, ["variants", "'builtn'", "composite", "did you mean 'builtin'"]),
        ({"variants": ()}, ["variants", "one or more"]),
        ({"variants": "note,note"}, ["variants", "each once"]),
        ({"device": "tpu"}, ["device", "'tpu'", "auto, cpu, cuda, mps"]),
        ({"optimizer": "lion"}, ["optimizer", "'lion'", "adam, sgd"]),
        ({"batch_size": 1}, ["batch_size", "got 1", "one value per channel", "2 to 4096"]),
        ({"epochs": 1, "steps": 5}, ["epochs", "steps", "one of them"]),
        ({"momentum": None, "variants": "note"}, ["momentum", "cumulative", "leave the variant"]),
        ({"gradients": "maybe"}, ["gradients", "'maybe'", "true or false"]),
        ({"learning_rate": 1}, ["learning_rate", "no such setting", "lr"]),
        ({"quirks": {"keep_grph": False}}, ["keep_grph", "did you mean 'keep_graph'"]),
    ],
    ids=lambda v: str(v)[:40],
)
def test_bad_input_is_one_line_with_field_value_and_remedy(fields, words):
    with pytest.raises(ConfigError) as caught:
        RunConfig.parse(**fields)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_batch_of_one_is_fine_where_nothing_normalizes_or_the_note_does():
    assert RunConfig.parse(batch_size=1, variants="note,none").batch_size == 1


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(ConfigError, match=r"batch_size: got 4096.*up to 100"):
        RunConfig(batch_size=4096).total_steps(100)


def test_json_that_is_none_is_named():
    with pytest.raises(ConfigError, match="not JSON"):
        RunConfig.from_json("{")


def test_a_bad_link_keeps_its_good_values_and_names_the_bad_ones():
    fields, notes = good_fields(
        {"momentum": "7", "eps": "0.001", "batch_size": "x", "run": "unrelated"}
    )
    assert RunConfig.parse(**fields) == RunConfig(eps=0.001)
    assert [note.split(":")[0] for note in notes] == ["momentum", "batch_size"]


def test_a_value_that_only_needs_another_one_is_not_called_bad():
    assert good_fields({"batch_size": "1"}) == ({"batch_size": "1"}, [])


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_valid_and_named(name):
    preset = PRESETS[name]
    assert preset.label and preset.sentence
    assert RunConfig.from_json(json.dumps(preset.config().model_dump(mode="json")))


@pytest.mark.parametrize("name", [n for n in RunConfig.model_fields if n != "quirks"])
def test_every_field_says_what_it_is_and_what_it_takes(name):
    setting = Setting.of(RunConfig, name)
    assert setting.allowed and setting.help
    assert setting.label != name
