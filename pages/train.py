"""Train: the cockpit of a live run with its four views."""

import streamlit as st

from bnviz.i18n import _
from bnviz.ui import cockpit, runs, views
from bnviz.ui.board import board
from bnviz.ui.warm import warm_up

VIEWS = "views"  # the key of the fragment that answers to the sliders

warm_up()
run = runs.choose_run()
cockpit.sidebar(run, answers=VIEWS)

st.title(_("Train"))
st.caption(
    _(
        "The same LeNet with different norm layers, same weights at the start, same batches in the "
        "same order. What differs is the norm alone."
    )
)
ticking = run.live
every = 0.5 if ticking else None


@st.fragment(run_every=every)
def cockpit_bar() -> None:
    """One tick of the controls; the last one lets the page settle."""
    if run.job is not None:
        run.job.watch()
    cockpit.controls(run)
    cockpit.messages(run)
    cockpit.progress(run)
    st.caption(run.origin() + "  \n" + run.settings())
    if run.live != ticking or run.is_left():
        st.rerun()


@st.fragment(run_every=every, key=VIEWS)
def four_views() -> None:
    """One tick of the figures, or the answer to a control."""
    board(views.four_cards(run), key="train_views", revision=run.id)


cockpit_bar()
views.controls(run, answers=VIEWS)
four_views()
note = views.difference_note(run.config)
if note:
    st.caption(note)
