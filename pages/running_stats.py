"""Running statistics: the note's demo, replays and the race on the run on show, and two maps more."""

import streamlit as st

from bnviz.app import runs
from bnviz.app.card_grid import board, plainly
from bnviz.app.preload import warm_up
from bnviz.app.rerun_button import train_again_with_bn
from bnviz.app.state import sliders_here
from bnviz.app.task_panel import every, found
from bnviz.i18n import _
from bnviz.subjects.running_stats import demo_section, estimates_section, momentum_map_section
from bnviz.subjects.running_stats.estimator_comparison_section import race, race_cards, race_key
from bnviz.subjects.running_stats.sample_size_section import enough, enough_card, enough_key
from bnviz.subjects.running_stats.start_and_eps_section import start_and_eps_cards

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
    with plainly():
        shown = demo_section.controls()
        demo_section.metrics(shown)
        board(demo_section.cards(shown), key="demo", revision="demo")
        demo_section.translator(shown)


the_demo()
st.subheader(_("On the run"))
st.caption(run.origin())
if not runs.with_statistics(run):
    train_again_with_bn(
        run, _("This run has no BN, so there are no running statistics. Choose another run, or:")
    )
    st.stop()
estimates_section.controls(run, answers=FIGURES, others=[IMAGES, MAP])
variant = estimates_section.chosen_variant(run)
images = st.session_state.get("map_images", momentum_map_section.DEFAULT_IMAGES)
racing = every(run, race_key(run, variant), live=1.0)
counting = every(run, enough_key(run, variant), live=5.0)
mapping = every(run, momentum_map_section.map_key(run, variant, images), live=None)


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
    chosen = estimates_section.choice(run)
    key = race_key(run, chosen.variant)
    card = estimates_section.estimates_card(run, chosen, found(key))
    board([card], key="estimates", revision=run.id)
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
    chosen = estimates_section.chosen_variant(run)
    with plainly():
        needed = enough(run, chosen)
        if needed is not None:
            board([enough_card(run, chosen, *needed)], key="images", revision=run.id)
    if counting != every(run, enough_key(run, chosen), live=5.0):
        st.rerun()


@st.fragment(run_every=mapping, key=MAP)
def by_batch_size() -> None:
    """The map of momentum x batch size."""
    chosen, count = estimates_section.chosen_variant(run), momentum_map_section.images_control()
    with plainly():
        frame = momentum_map_section.momentum_maps(run, chosen, count)
        cards = momentum_map_section.map_cards(run, chosen, count, frame)
        if cards:
            board(cards, key="map", revision=f"{run.id} {count}")
    if mapping != every(run, momentum_map_section.map_key(run, chosen, count), live=None):
        st.rerun()


on_the_run()
st.subheader(_("Population statistics from few images"))
how_many_images()
st.subheader(_("Momentum and batch size"))
by_batch_size()
