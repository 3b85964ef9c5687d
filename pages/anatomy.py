"""Anatomy: one batch that can be edited, forward and back; its relatives; what BN leaves as it is."""

import streamlit as st

from bnviz.app import runs
from bnviz.app.card_grid import board, plainly
from bnviz.app.preload import warm_up
from bnviz.app.rerun_button import train_again_with_bn
from bnviz.errors import BnvizError
from bnviz.i18n import _
from bnviz.subjects.anatomy import (
    backward_section,
    forward_section,
    invariance_section,
    norm_axes_section,
)
from bnviz.subjects.parity.parity_section import prove_it

warm_up()
run = runs.choose_run()
st.title(_("Anatomy"))
st.caption(
    _(
        "What a BN layer does to one batch, cell by cell: edit the numbers, follow each step of the "
        "forward pass and each way of the gradient back."
    )
)


@st.fragment
def the_cells() -> None:
    """Everything that answers to the table: forward, backward, and other ways to normalize."""
    try:
        x, done = forward_section.cells_section()
    except BnvizError as error:
        st.error(str(error), icon=":material/error:")
        return
    if done is not None:
        st.subheader(_("Backward, step by step"))
        st.caption(
            _("Each cell of y brings word of how the loss changes with it. Type other numbers.")
        )
        backward_section.backward_section(done)
    st.subheader(_("The same cells over other axes"))
    st.caption(
        _(
            "What sets these apart is which cells share a mean. Over the wrong axes the channels keep "
            "their different units; layer, instance and group norm do without the other samples."
        )
    )
    norm_axes_section.schemes_section(x, st.session_state["eps"])


the_cells()
st.subheader(_("What BN does not change"))
st.caption(
    _(
        "BN takes off the mean and divides by the spread, so what scales or shifts its whole input "
        "is gone behind it: here in the trained weights of the run on show, on {n} test images."
    ).format(n=invariance_section.IMAGES)
)
st.caption(run.origin())


@st.fragment
def what_stays() -> None:
    """Weights of the run before BN, scaled and shifted; the gradient of its biases."""
    with plainly():
        choice = invariance_section.controls(run)
        found = invariance_section.measured(run, choice)
        invariance_section.metrics(found[0], choice)
        board(invariance_section.cards(choice, *found), key="invariance", revision=run.id)


if run.with_statistics:
    what_stays()
else:
    train_again_with_bn(
        run, _("This run has no BN, so nothing stands behind its layers. Choose another run, or:")
    )

st.subheader(_("Prove it"))
prove_it()
