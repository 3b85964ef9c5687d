"""Running statistics: the note's demo, replays of the run on show, and the race of estimators."""

import streamlit as st

from bnviz.errors import BnvizError
from bnviz.i18n import _
from bnviz.ui import demo, estimates, runs
from bnviz.ui.board import board
from bnviz.ui.state import sliders
from bnviz.ui.warm import warm_up

FIGURES = "estimates"  # the key of the fragment that answers to the sliders

warm_up()
run = runs.choose_run()
st.title(_("Running statistics"))
st.caption(
    _(
        "In eval mode BN divides by averages that it kept while it trained. Which average is the "
        "right one, and what does a wrong one cost?"
    )
)
with st.sidebar:
    sliders(
        _("Rebuilds the running statistics of the run from its recorded batches, at once."),
        _(
            "Acts on the accuracy at the sliders. It is exact there; training saw the run's own eps."
        ),
        answers=FIGURES,
    )


@st.fragment
def the_demo() -> None:
    """The note's five lines of code with handles on them."""
    st.subheader(_("The note's demo, alive"))
    try:
        shown = demo.controls()
    except BnvizError as error:
        st.error(str(error), icon=":material/error:")
        return
    demo.metrics(shown)
    board(demo.cards(shown), key="demo", revision="demo")
    demo.translator(shown)


def busy() -> bool:
    """Whether more is to come by itself: from the run, or from a measurement."""
    return run.live or any(
        (found := estimates.measurement(run, variant)) is not None and found.going_on
        for variant in run.config.variants
    )


ticking = busy()


@st.fragment(run_every=1.0 if ticking else None, key=FIGURES)
def on_the_run() -> None:
    """Replays of one channel, then the race of the estimators."""
    if run.job is not None:
        run.job.watch()
    chosen = estimates.choice(run)
    found = estimates.race(run, chosen)
    cards = [estimates.estimates_card(run, chosen, found)]
    if found is not None:
        cards += estimates.race_cards(run, chosen, found)
    cards += estimates.start_and_eps_cards(run, chosen)
    board(cards, key="estimates", revision=run.id)
    if ticking and not busy():
        st.rerun()


the_demo()
st.subheader(_("On the run"))
st.caption(run.origin())
if not estimates.with_statistics(run):
    st.info(_("This run has no BN, so there are no running statistics. Choose another run."))
    st.stop()
estimates.controls(run, answers=FIGURES)
on_the_run()
