"""What a reader looks at, as an address carries it."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from bnviz.errors import ConfigError
from bnviz.nn.variants import VARIANTS
from bnviz.records.schema import LAYERS, STAGES
from bnviz.selection import Selection, check_names, with_value

FIELDS = tuple(Selection.model_fields)
SELECTIONS = some.builds(
    Selection,
    variant=some.sampled_from(["", *VARIANTS]),
    layer=some.sampled_from(list(LAYERS)),
    channels=some.lists(some.integers(0, 119), max_size=3).map(tuple),
    step=some.none() | some.integers(0, 10**6),
    momentum=some.sampled_from([0.0, 0.001, 0.1, 1.0]),
    eps=some.sampled_from([1e-8, 1e-5, 1.0]),
    stage=some.sampled_from(STAGES),
    one_axis=some.booleans(),
    batch=some.none() | some.integers(0, 10**9),
)


@given(SELECTIONS)
def test_an_address_gives_the_selection_back(chosen):
    assert Selection.from_query(chosen.to_query(FIELDS)) == chosen


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("layer", "conv9", "layer: got 'conv9'; allowed: conv1, conv2, fc1, fc2."),
        ("momentum", "7", "momentum: got '7'; allowed: a number at least 0 and at most 1."),
        ("momentum", "nan", "momentum: got 'nan'"),
        ("eps", "0", "eps: got '0'; allowed: a number more than 0 and at most 1."),
        ("step", "-1", "step: got '-1'"),
        ("channels", "1,2,3,4", "channels: got"),
        ("channels", "x", "channels: got 'x'"),
        ("colour", "red", "colour: no such setting"),
    ],
)
def test_nonsense_is_named_with_what_is_allowed(name, value, said):
    with pytest.raises(ConfigError) as refused:
        Selection.from_query({name: value})
    assert str(refused.value).startswith(said)
    assert "\n" not in str(refused.value)


def test_a_layer_with_fewer_channels_shows_its_last():
    chosen = Selection(channels=(119, 3, 50), layer="conv1")
    assert chosen.channels_of("conv1") == (5, 3)
    assert Selection().channels_of("conv1") == (0,)
    assert chosen.followed == 3
    assert Selection(channels=(119,), layer="conv1").followed is None


def test_parameters_are_checked_by_name():
    check_names(["layer"], ["layer", "step"])
    with pytest.raises(ConfigError, match="colour: no such parameter; allowed: layer, step"):
        check_names(["layer", "colour"], ["layer", "step"])


def test_a_value_of_a_link_joins_the_slider_at_its_place():
    assert with_value((0.1, 0.9), 0.5) == [0.1, 0.5, 0.9]
    assert with_value((0.1, 0.9), None) == [0.1, 0.9]
