"""A figure with its title and one plain sentence, and the form in which a browser gets it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bnviz.charts.encoding import Figure, encode, encode_figure

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
    follows: str = ""
    """Key of the slider whose values have previews."""
    previews: Mapping[str, "Preview"] = field(default_factory=dict)
    """By words of the slider: drawn as soon as it says them, before Python has heard of it."""


@dataclass(frozen=True)
class Preview:
    """What a card would show at another value of a slider."""

    traces: Mapping[int, Mapping[str, Any]]
    """By number of the trace in the figure: the properties that are others."""
    sentence: str


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
        "follows": card.follows,
        "previews": {
            words: {
                "traces": {str(number): encode(new) for number, new in preview.traces.items()},
                "sentence": preview.sentence,
            }
            for words, preview in card.previews.items()
        },
    }
