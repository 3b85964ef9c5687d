"""Cards on a page: the live component in the project's colours and the reader's language."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import streamlit as st

from bnviz.app.figure_answers import figure_answers
from bnviz.app.live import TEXTS, live_figures
from bnviz.app.routes import LANGUAGE
from bnviz.charts.card import Card, encode_card
from bnviz.charts.registry import figure_named
from bnviz.charts.theme import PALETTE
from bnviz.errors import BnvizError
from bnviz.i18n import _
from bnviz.selection import SLIDER_EPS, SLIDER_MOMENTA, Selection
from bnviz.training.run_view import RunView

CARD_WIDTH = 440  # two columns at 1440 px with the sidebar open, one on a phone
SLIDERS = {"momentum": "momentum", "eps": "eps", "step": "step", "home_step": "step"}
"""Key of a slider to the field of `Selection` that it sets: figures answer to it at once."""
SLIDER_VALUES = {
    name: [f"{value:g}" for value in values]
    for name, values in (("momentum", SLIDER_MOMENTA), ("eps", SLIDER_EPS))
}
"""The values of such a field as an address has them; those beside the reader's are asked for ahead."""


def board(
    cards: Sequence[Card],
    *,
    key: str,
    revision: str,
    on_pick: Callable[[int], None] | None = None,
) -> None:
    """Show `cards` in a grid; charts that are already there change in place.

    A new `revision` (another run) gives up zoom and hidden legend entries. `on_pick` is called with
    what a clicked point of a pickable card stands for.
    """
    _show([encode_card(card) for card in cards], key, revision, on_pick)


Named = str | tuple[str, Mapping[str, Any]]
"""The name of a figure, with the fields of the selection that are others for it."""


def figure_board(
    run: RunView,
    chosen: Selection,
    figures: Sequence[Named],
    *,
    key: str,
    on_pick: Callable[[int], None] | None = None,
) -> None:
    """Show registered figures of a run in a grid; from then on each asks the server for itself.

    Those that do not apply to the run are left out.
    """
    cards = []
    for named in figures:
        name, changes = (named, {}) if isinstance(named, str) else named
        if not figure_named(name).applies(run):
            cards.append(
                _named_card(name, chosen.model_copy(update={**changes, "run": run.id}), changes)
            )
    _show(cards, key, run.id, on_pick, growing="step" if run.live else "")


def _named_card(name: str, chosen: Selection, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The figure as it is now, and the address at which the browser finds it later."""
    entry, language = figure_named(name), st.query_params.get(LANGUAGE, "en")
    query = chosen.to_query(("run", *entry.needs))
    answer = figure_answers().answer(name, query, language, newest=True)
    empty = {"title": _(entry.title), "figure": None}
    return {
        **(answer.document["card"] or empty),
        "key": "_".join([name.split("/")[1], *map(str, changes.values())]),
        **{part: answer.document[part] for part in ("state", "text", "progress")},
        "address": {
            "url": f"figures/{name}",
            "query": {**query, LANGUAGE: language},
            "etag": answer.etag,
            "again": answer.again,
        },
    }


def _show(
    cards: Sequence[Mapping[str, Any]],
    key: str,
    revision: str,
    on_pick: Callable[[int], None] | None,
    growing: str = "",
) -> None:
    live_figures(
        cards,
        key=key,
        revision=revision,
        palette=PALETTE,
        texts={name: _(text) for name, text in TEXTS.items()},
        follows=SLIDERS,
        values=SLIDER_VALUES,
        growing=growing,
        card_width=CARD_WIDTH,
        on_pick=on_pick,
    )


@contextmanager
def plainly(box: Callable[..., Any] = st.info) -> Iterator[None]:
    """Where something cannot be shown, its reason stands in its place, and the page goes on."""
    try:
        yield
    except BnvizError as error:
        icon = ":material/error:" if box is st.error else ":material/info:"
        box(str(error), icon=icon)
