"""Running statistics: the note's demo, replays and the race on the run on show, and two maps more."""

import streamlit as st

from bnviz.errors import BnvizError
from bnviz.i18n import _
from bnviz.ui import demo, enough, estimates, momentum_map, runs
from bnviz.ui.again import train_again, with_changes
from bnviz.ui.board import board, plainly
from bnviz.ui.measuring import every, found
from bnviz.ui.race import race, race_cards, race_key
from bnviz.ui.start_and_eps import start_and_eps_cards
from bnviz.ui.state import sliders_here
from bnviz.ui.warm import warm_up

# Keys of fragments: the first answers to all controls of the run, the others to the variant.
FIGURES, IMAGES, MAP = "estimates", "images", "map"

warm_up()
run = runs.choose_run()
st.title(_("Running statistics"))
st.caption(
    _(
        "In eval mode BN divides by averages that it kept while it trained. Which average is the "
        "right one, and what does a wrong one cost?"
    )
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


the_demo()
st.subheader(_("On the run"))
st.caption(run.origin())
if not estimates.with_statistics(run):
    st.info(_("This run has no BN, so there are no running statistics. Choose another run, or:"))
    train_again(
        with_changes(run.config, variants=(*run.config.variants, "builtin")),
        key="again_builtin", label=_("Train again with nn.BatchNorm beside it"),
    )  # fmt: skip
    st.stop()
estimates.controls(run, answers=FIGURES, others=[IMAGES, MAP])
variant = estimates.chosen_variant(run)
images = st.session_state.get("map_images", momentum_map.DEFAULT_IMAGES)
racing = every(run, race_key(run, variant), live=1.0)
counting = every(run, enough.enough_key(run, variant), live=5.0)
mapping = every(run, momentum_map.map_key(run, variant, images), live=None)


@st.fragment(run_every=racing, key=FIGURES)
def on_the_run() -> None:
    """Replays of some channels, sent at once; then the race, whose accuracies take longer."""
    if run.job is not None:
        run.job.watch()
    sliders_here(
        _("Rebuilds the running statistics of the run from its recorded batches, at once."),
        _(
            "Acts on the accuracy at the sliders. It is exact there; training saw the run's own eps."
        ),
    )
    chosen = estimates.choice(run)
    key = race_key(run, chosen.variant)
    board([estimates.estimates_card(run, chosen, found(key))], key="estimates", revision=run.id)
    with plainly():
        measured = race(run, chosen)
        if measured is not None:
            board(race_cards(run, chosen, measured), key="race", revision=run.id)
    with plainly():
        cards = start_and_eps_cards(run, chosen)
        if cards:
            board(cards, key="start_and_eps", revision=run.id)
    if racing != every(run, key, live=1.0):
        st.rerun()


@st.fragment(run_every=counting, key=IMAGES)
def how_many_images() -> None:
    """Population statistics from few images."""
    chosen = estimates.chosen_variant(run)
    with plainly():
        needed = enough.enough(run, chosen)
        if needed is not None:
            board([enough.enough_card(run, chosen, *needed)], key="images", revision=run.id)
    if counting != every(run, enough.enough_key(run, chosen), live=5.0):
        st.rerun()


@st.fragment(run_every=mapping, key=MAP)
def by_batch_size() -> None:
    """The map of momentum x batch size."""
    chosen, count = estimates.chosen_variant(run), momentum_map.images_control()
    with plainly():
        frame = momentum_map.momentum_maps(run, chosen, count)
        cards = momentum_map.map_cards(run, chosen, count, frame)
        if cards:
            board(cards, key="map", revision=f"{run.id} {count}")
    if mapping != every(run, momentum_map.map_key(run, chosen, count), live=None):
        st.rerun()


on_the_run()
st.subheader(_("Population statistics from few images"))
how_many_images()
st.subheader(_("Momentum and batch size"))
by_batch_size()
