"""Cards on a page: the live component in the project's colours and the reader's language."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import streamlit as st

from bnviz.app.live import TEXTS, live_figures
from bnviz.charts.card import Card
from bnviz.charts.theme import PALETTE
from bnviz.errors import BnvizError
from bnviz.i18n import _

CARD_WIDTH = 440  # two columns at 1440 px with the sidebar open, one on a phone


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
    live_figures(
        cards,
        key=key,
        revision=revision,
        palette=PALETTE,
        texts={name: _(text) for name, text in TEXTS.items()},
        card_width=CARD_WIDTH,
        on_pick=on_pick,
    )


@contextmanager
def plainly() -> Iterator[None]:
    """Where something cannot be shown, its reason stands in its place, and the page goes on."""
    try:
        yield
    except BnvizError as error:
        st.info(str(error), icon=":material/info:")
