"""Seconds as people say them."""

import pytest

from bnviz.units import duration


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.4, "0 s"), (59.4, "59 s"), (60, "1 min"), (101, "1 min 41 s"), (119.7, "2 min"),
        (599, "9 min 59 s"), (601, "10 min"), (5400, "90 min"),
    ],
)  # fmt: skip
def test_a_duration_is_said_in_one_way_everywhere(seconds, said):
    """101 s once stood beside "took 2 min"."""
    assert duration(seconds) == said
