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
from pathlib import Path
from types import MappingProxyType

import streamlit as st

from bnviz.app.live.assets import PLOTLY_URL
from bnviz.charts.card import Card, encode_card
from bnviz.i18n import N_

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
