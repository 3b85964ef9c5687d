"""A figure with its title and one plain sentence, and the form in which a browser gets it."""

from dataclasses import dataclass
from typing import Any

from bnviz.charts.encoding import Figure, encode_figure

HEIGHT = 430
"""Of a plot in pixels, where a page shows a grid of them."""


@dataclass(frozen=True)
class Card:
    """One figure with its title, and one plain sentence that says what it shows."""

    key: str
    """Stable name: the chart lives as long as a card of this key is shown."""
    title: str
    figure: Figure
    """A Figure, or a dict ``{"data": [...], "layout": {...}}``, which skips plotly's checks."""
    sentence: str = ""
    alt: str = ""
    """What a screen reader says about the chart, instead of the title; best kept constant."""
    height: int = 320
    """Of the plot, in pixels."""
    asked: str = ""
    """What the reader chose to see in it; when that changes, it is drawn before the others."""
    pickable: bool = False
    """Whether a click on a point tells the page its `customdata`, or the `meta` of its series."""
    wide: bool = False
    """Whether it takes the whole width of the grid."""


def encode_card(card: Card) -> dict[str, Any]:
    """What the browser gets of a card, ready for JSON."""
    return {
        "key": card.key,
        "title": card.title,
        "sentence": card.sentence,
        "alt": card.alt or card.title,
        "height": card.height,
        "asked": card.asked,
        "pickable": card.pickable,
        "wide": card.wide,
        "figure": encode_figure(card.figure),
    }
