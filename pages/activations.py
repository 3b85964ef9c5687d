"""Activations: what BN does to them over a whole run, at one step, and how far they move."""

import streamlit as st

from bnviz.i18n import _
from bnviz.ui import activations, runs
from bnviz.ui.board import board

FIGURES = "activations"  # the key of the fragment that answers to the controls

run = runs.choose_run()
st.title(_("Activations"))
st.caption(
    _(
        "What enters each BN layer, what normalizing makes of it, what leaves it and what the "
        "activation passes on: from 2,048 values at fixed places, probed while the run trained."
    )
)
st.caption(run.origin())
playing = activations.is_playing()
every = activations.TICK_S if playing else 1.0 if run.live else None


@st.fragment(run_every=every, key=FIGURES)
def figures() -> None:
    """One tick of the figures, or the answer to a control."""
    if run.job is not None:
        run.job.watch()
    activations.scrubber(run)
    chosen = activations.choice()
    board(activations.cards(run, chosen), key="activations", revision=run.id)
    activations.shape_table(run, chosen)
    if activations.is_playing() != playing:
        st.rerun()


activations.controls(run, answers=FIGURES)
figures()
