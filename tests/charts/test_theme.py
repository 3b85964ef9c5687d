"""One meaning a colour."""

import re
from itertools import combinations

import pytest

from bnviz.charts.theme import DASH, PALETTE
from bnviz.nn.variants import VARIANTS
from tests.paths import ROOT

# Figures of one fixed variant, or of the note's layer beside others.
OF_ONE_VARIANT = {
    "printed_log_figures.py", "questions_figures.py", "memory_experiment_figures.py",
    "chain_figures.py", "process_growth_figures.py",
}  # fmt: skip
LITERAL = re.compile(rf"(?:colour|stroke)\(\"({'|'.join(VARIANTS)})\"")


def channels(colour):
    return [int(colour[k : k + 2], 16) for k in (1, 3, 5)]


@pytest.mark.parametrize("theme", PALETTE)
def test_no_two_meanings_share_a_colour(theme):
    """The colours of the sets of cells on the page Anatomy are a world of their own."""
    named = {k: v for k, v in PALETTE[theme].items() if not k.startswith("group")}
    near = [
        (one, other)
        for one, other in combinations(named, 2)
        if max(
            abs(a - b) for a, b in zip(channels(named[one]), channels(named[other]), strict=True)
        )
        < 16
    ]
    assert near == []
    assert set(PALETTE["light"]) == set(PALETTE["dark"])


def test_every_variant_has_a_colour_and_a_dash_of_its_own():
    assert set(DASH) == set(VARIANTS) <= set(PALETTE["light"])
    assert len(set(DASH.values())) == len(DASH)


@pytest.mark.parametrize("path", sorted(ROOT.glob("bnviz/**/*_figures.py")), ids=lambda p: p.name)
def test_the_colour_of_a_variant_stands_for_that_variant_only(path):
    assert path.name in OF_ONE_VARIANT or LITERAL.findall(path.read_text()) == []
