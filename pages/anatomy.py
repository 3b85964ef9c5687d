"""Anatomy: one batch that can be edited, forward and back; its relatives; what BN leaves as it is."""

import streamlit as st

from bnviz.app import runs
from bnviz.app.card_grid import board, plainly
from bnviz.app.controls import choice_control, selection_controls
from bnviz.app.preload import warm_up
from bnviz.app.rerun_button import train_again_with_bn
from bnviz.app.task_panel import watch_run
from bnviz.i18n import _
from bnviz.subjects.anatomy import (
    backward_section,
    forward_section,
    invariance_section,
    norm_axes_section,
)
from bnviz.subjects.parity.parity_section import prove_it

ANSWERS = "cells"  # the key of the fragment that answers to the sidebar

warm_up()
run = runs.choose_run()
st.title(_("Anatomy"))
st.caption(
    _(
        "What a BN layer does to one batch, cell by cell: edit the numbers, follow each step "
        "of the forward pass and each path of the gradient backward."
    )
)
view = choice_control(
    _("View"),
    {
        "forward": _("Forward"),
        "backward": _("Backward"),
        "axes": _("Other axes"),
        "cancels": _("What BN cancels"),
        "check": _("Check a layer"),
    },
    "view",
    help=_("The first three act on the same cells."),
)


# View to what it shows of the cells, and to the parameters that act there.
CELLS = {
    "forward": (forward_section.show, "γβ"),
    "backward": (backward_section.show, "γ"),
    "axes": (norm_axes_section.show, ""),
}


@st.fragment(key=ANSWERS)
def on_the_cells() -> None:
    """What answers to the tables and to the sidebar."""
    with plainly(st.error):
        CELLS[view][0]()


@st.fragment
def what_cancels() -> None:
    """Weights of the run before BN, scaled and shifted; the gradient of its biases."""
    with plainly():
        choice = invariance_section.controls(run)
        found = invariance_section.measured(run, choice)
        invariance_section.metrics(found[0], choice)
        board(invariance_section.cards(choice, *found), key="invariance", revision=run.id)


def on_the_run() -> None:
    """What scales or shifts the whole input of BN is gone behind it."""
    st.caption(
        _(
            "BN takes off the mean and divides by the spread, so what scales or shifts its whole input "
            "is gone behind it: here in the trained weights of a run, on {n} test images."
        ).format(n=invariance_section.IMAGES)
    )
    st.caption(run.origin())
    if not run.with_statistics:
        train_again_with_bn(
            run,
            _("This run has no BN, so nothing stands behind its layers. Choose another run, or:"),
        )
        return
    watch_run(run, checkpoints=True)
    selection_controls(run, ("variant", "layer"), with_bn=True)
    what_cancels()


if view in CELLS:
    with st.sidebar:
        forward_section.settings_controls(CELLS[view][1], answers=ANSWERS)
{"cancels": on_the_run, "check": prove_it}.get(view, on_the_cells)()
