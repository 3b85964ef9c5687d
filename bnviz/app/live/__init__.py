"""Figures that change in place: one component for all charts of a page.

`st.plotly_chart` destroys and rebuilds a chart whenever its numbers change, and zoom, hover and
legend choices go with it. Here each card keeps its chart for as long as its key is on the page,
and `Plotly.react` moves the new numbers in. Colours are named in the figure, ``var(--name)`` or
``var(--name/0.25)`` for 25 % opacity, and looked up in the browser, so one figure serves the light
and the dark theme. Names that the palette lacks are Streamlit's (``var(--st-text-color)``)::

    figure = go.Figure(go.Scatter(y=losses, line={"color": "var(--note)"}))
    live_figures(
        [encode_card(Card("loss", "Both losses fall", figure, sentence="Mean of 20 batches."))],
        key="training",
        revision=run_id,
        palette={"light": {"note": "#0072B2"}, "dark": {"note": "#56B4E9"}},
    )
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import streamlit as st

from bnviz.app.live.assets import PLOTLY_URL
from bnviz.i18n import N_

_FOLDER = Path(__file__).parent
_component = st.components.v2.component(
    "bnviz_live_figures",
    css=(_FOLDER / "live.css").read_text(encoding="utf-8"),
    js=(_FOLDER / "live.js").read_text(encoding="utf-8"),
)

_states = st.components.v2.component(
    "bnviz_live_states",
    css=(_FOLDER / "states.css").read_text(encoding="utf-8"),
    js=(_FOLDER / "states.js").read_text(encoding="utf-8"),
    isolate_styles=False,
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
    cards: Sequence[Mapping[str, Any]],
    *,
    key: str,
    revision: str,
    palette: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
    texts: Mapping[str, str] = MappingProxyType({}),
    follows: Mapping[str, str] = MappingProxyType({}),
    values: Mapping[str, Sequence[str]] = MappingProxyType({}),
    growing: str = "",
    card_width: int = 420,
    on_pick: Callable[[int], None] | None = None,
) -> None:
    """Show `cards` (as `encode_card` makes them) in a grid, updating in place those already there.

    A card with an ``address`` (``url``, ``query``, ``etag``, ``again``) asks the server for itself
    from then on. `follows` has the parameter of an address by the key of a slider: when that slider
    moves, its cards ask at once, and where `values` has those of the parameter, ahead for the ones
    beside it; at the end of the slider of the parameter `growing` they ask for the
    newest (``none``). A change of `revision` gives up the reader's zoom and legend choices (a
    new run, say). `palette` is ``{"light": {name: "#rrggbb"}, "dark": {…}}``; `texts` replaces
    entries of `TEXTS`. As many columns as fit at `card_width` pixels, at least one. `on_pick` is
    called with what a clicked point of a pickable card stands for.
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
            "follows": dict(follows),
            "values": {name: list(each) for name, each in values.items()},
            "growing": growing,
            "cards": list(cards),
        },
    )


def live_states(
    states: Sequence[Mapping[str, Any]],
    query: Mapping[str, str | list[str]],
    *,
    key: str,
    on_change: Callable[[], None] = lambda: None,
    after_s: float | None = None,
) -> None:
    """A line and a bar for each of `states`, which the browser keeps asking for.

    They stand at the address ``states`` with the parameters `query`. When the ``key`` of one is
    another than the page was drawn with, the script runs again, after `on_change`; and it does so
    `after_s` seconds from now, if that is given.
    """
    data = {"states": list(states), "query": dict(query), "after_s": after_s, "sent": time.time()}
    _states(key=key, on_changed_change=on_change, data=data)
