"""Figures that change in place: one component for all charts of a page.

`st.plotly_chart` destroys and rebuilds a chart whenever its numbers change, and zoom, hover and
legend choices go with it. Here each card keeps its chart for as long as its key is on the page,
and `Plotly.react` moves the new numbers in. Colours are named in the figure, ``var(--name)`` or
``var(--name/0.25)`` for 25 % opacity, and looked up in the browser, so one figure serves the light
and the dark theme. Names that the palette lacks are Streamlit's (``var(--st-text-color)``)::

    figure = go.Figure(go.Scatter(y=losses, line={"color": "var(--note)"}))
    live_figures(
        [Card("loss", "Both losses fall", figure, sentence="Mean of 20 batches.")],
        key="training",
        revision=run_id,
        palette={"light": {"note": "#0072B2"}, "dark": {"note": "#56B4E9"}},
    )
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import streamlit as st

from bnviz.i18n import N_
from bnviz.ui.live.assets import PLOTLY_URL
from bnviz.ui.live.wire import Figure, encode, encode_figure

__all__ = ["TEXTS", "Card", "Preview", "encode_card", "live_figures"]

_FOLDER = Path(__file__).parent
_component = st.components.v2.component(
    "bnviz_live_figures",
    css=(_FOLDER / "live.css").read_text(encoding="utf-8"),
    js=(_FOLDER / "live.js").read_text(encoding="utf-8"),
)

TEXTS: Mapping[str, str] = MappingProxyType(
    {
        "group": N_("Figures"),
        "csv": N_("CSV"),
        "csv_hint": N_("Download the data as CSV"),
        "page": N_("HTML"),
        "page_hint": N_("Download the chart as an interactive page"),
        "zoom": N_("Zoom"),
        "pan": N_("Pan"),
        "reset": N_("Reset view"),
        "png": N_("Download as PNG"),
        "failed": N_("The drawing library did not load. Reload the page to try again."),
    }
)


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


def live_figures(
    cards: Sequence[Card],
    *,
    key: str,
    revision: str,
    palette: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
    texts: Mapping[str, str] = MappingProxyType({}),
    card_width: int = 420,
    on_pick: Callable[[int], None] | None = None,
) -> None:
    """Show `cards` in a grid, updating in place the charts that are already there.

    A change of `revision` gives up the reader's zoom and legend choices (a new run, say).
    `palette` is ``{"light": {name: "#rrggbb"}, "dark": {…}}``; `texts` replaces entries of
    `TEXTS`. As many columns as fit at `card_width` pixels, at least one. `on_pick` is called with
    what a clicked point of a pickable card stands for.
    """

    def picked() -> None:
        event = st.session_state[key].picked
        if event is not None and on_pick is not None:
            on_pick(int(event["value"]))

    _component(
        key=key,
        on_picked_change=picked,
        data={
            "plotly": PLOTLY_URL,
            "revision": revision,
            "palette": {theme: dict(colors) for theme, colors in palette.items()},
            "texts": {**TEXTS, **texts},
            "card_width": card_width,
            "cards": [encode_card(card) for card in cards],
        },
    )


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
