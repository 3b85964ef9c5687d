"""The note's demo: what is typed, what the averages come to, what the words say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnviz.errors import ConfigError
from bnviz.subjects.running_stats import demo_section
from bnviz.subjects.running_stats.demo_section import Demo, parse_means

NOTE = Demo(np.tile([1.0, 2, 3, 4, 5], 10), 10, 0.1, 0.0)


def by_hand(values, momentum, start):
    """The note's five lines."""
    moving, result = start, []
    for value in values:
        moving = (1 - momentum) * moving + momentum * value
        result.append(moving)
    return result


@given(
    st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30),
    st.floats(0, 1),
    st.floats(-10, 10),
)
def test_the_moving_average_is_the_note_s_loop(values, momentum, start):
    shown = Demo(np.array(values), 1, momentum, start)
    np.testing.assert_allclose(shown.ema, by_hand(values, momentum, start), rtol=1e-9, atol=1e-7)


def test_the_note_s_demo_ends_each_round_above_three_and_does_not_settle():
    last_round = NOTE.ema[-5:]
    assert last_round[-1] > 3.1
    assert last_round.min() < 3 < last_round.max()
    assert NOTE.average[-1] == pytest.approx(3)
    curves, _memory = demo_section.cards(NOTE)
    assert "keeps oscillating" in curves.sentence
    assert f"{NOTE.ema[-1]:.3f}" in curves.sentence


def test_an_average_of_equal_batches_converges_and_says_so():
    curves, _memory = demo_section.cards(Demo(np.full(50, 2.0), 50, 0.5, 0.0))
    assert "less than 1% of" in curves.sentence


def test_bars_are_the_weights_of_past_batches():
    _curves, memory = demo_section.cards(NOTE)
    [bars] = memory.figure["data"]
    unit = np.eye(50)
    effect = [Demo(row, 1, 0.1, 0.0).ema[-1] for row in unit][::-1]
    np.testing.assert_allclose(bars["y"], 100 * np.array(effect), rtol=1e-5)


def test_the_translator_knows_whose_weight_each_number_is():
    table = demo_section.translation(0.1).set_index("where")["value"]
    assert table["PyTorch"] == table["the note's code"] == "0.1"
    assert table["TensorFlow, Keras"] == table["the note's demo"] == "0.9"
    assert table["the BN paper"] == "19 batches"


@pytest.mark.parametrize("text", ["1, two, 3", "nan", "1;2", "inf 1"])
def test_what_is_no_number_is_named(text):
    with pytest.raises(ConfigError, match=r"got '(two|nan|1;2|inf)'; allowed: finite numbers"):
        parse_means(text, 1)


def test_no_batch_and_too_many_are_refused():
    for text, rounds in ((" , ", 3), ("1 2 3 4 5 6", 1000)):
        with pytest.raises(ConfigError, match="in all; allowed: 1 to 5000"):
            parse_means(text, rounds)


def test_commas_and_spaces_both_separate():
    assert parse_means("1, 2 3", 2).tolist() == [1, 2, 3, 1, 2, 3]
