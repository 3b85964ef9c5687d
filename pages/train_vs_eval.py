"""Train vs eval: the same test images through both modes of the same weights."""

import streamlit as st

from bnviz.errors import BnvizError
from bnviz.i18n import _
from bnviz.ui import runs, twin
from bnviz.ui.board import board
from bnviz.ui.state import sliders_apart

PAIR = "pair"  # the key of the fragment that answers to the sliders

run = runs.choose_run()
st.title(_("Train mode against eval mode"))
st.caption(
    _(
        "In train mode BN normalizes an image by the batch that it stands in, in eval mode by the "
        "running statistics. Same weights, same images: what differs is the mode alone."
    )
)
with st.sidebar:
    sliders_apart(
        _("Rebuilds the running statistics from the recorded batches; acts on the eval side."),
        _("Acts on the eval side. It is exact there; training itself saw the run's own eps."),
        answers=PAIR,
    )
    st.caption(
        _("The run itself had momentum {m} and eps {eps:g}.").format(
            m=_("cumulative") if run.config.momentum is None else f"{run.config.momentum:g}",
            eps=run.config.eps,
        )
    )
choice = twin.controls(run)
st.caption(run.origin())
live = run.live


@st.fragment(run_every=1.5 if live else None, key=PAIR)
def both_modes() -> None:
    """Both sides at the chosen checkpoint; a live run brings new ones."""
    if run.job is not None:
        run.job.watch()
    try:
        pair = twin.compare(run, choice, st.session_state["momentum"], st.session_state["eps"])
    except BnvizError as error:
        st.info(str(error), icon=":material/hourglass_empty:")
        return
    twin.metrics(pair)
    board(twin.cards(run, pair), key="twin", revision=run.id)
    twin.image_table(pair)
    if run.live != live:
        st.rerun()


both_modes()
