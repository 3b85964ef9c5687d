"""Running statistics: the note's demo, the chosen run by several estimators, and three measurements."""

import streamlit as st

from bnviz.app import runs
from bnviz.app.card_grid import board, figure_board, plainly
from bnviz.app.controls import choice_control, selection, selection_controls, slider_controls
from bnviz.app.preload import warm_up
from bnviz.app.rerun_button import train_again_with_bn
from bnviz.app.task_panel import watch_run
from bnviz.i18n import _
from bnviz.subjects.running_stats import demo_section
from bnviz.subjects.running_stats.estimates_section import variance_control
from bnviz.subjects.running_stats.estimator_comparison_section import comparison
from bnviz.subjects.running_stats.momentum_map_section import images_control, momentum_map_panel
from bnviz.subjects.running_stats.sample_size_section import sample_size

MOMENTUM = ("running_stats/estimators", "running_stats/errors")
MAP = ("running_stats/map", "running_stats/map_errors")
START = ("running_stats/start", "running_stats/eps_share")
# View to the controls and the sliders of the sidebar that its figures need.
NEEDS = {
    "run": (("variant", "layer", "channels"), ("momentum",)),
    "momentum": (("variant", "layer"), ("momentum", "eps")),
    "images": (("variant",), ()),
    "map": (("variant",), ()),
    "start": (("variant", "layer", "channels"), ("momentum", "eps")),
}

warm_up()
run = runs.choose_run()
st.title(_("Running statistics"))
st.caption(
    _(
        "In eval mode BN divides by averages that it kept while it trained. Which average is the "
        "right one, and what does a wrong one cost?"
    )
)
view = choice_control(
    _("View"),
    {
        "demo": _("Moving-average demo"),
        "run": _("On this run"),
        "momentum": _("Which momentum?"),
        "images": _("How many images?"),
        "map": _("Momentum × batch size"),
        "start": _("Initial value and eps"),
    },
    "view",
    default="run", help=_("Each view answers one question; the demo needs no run."),
)  # fmt: skip


@st.fragment
def demo() -> None:
    """The note's five lines of code with handles on them."""
    with plainly():
        shown = demo_section.controls()
        board(demo_section.cards(shown), key="demo_board", revision="demo")
        demo_section.metrics(shown)
        demo_section.translator(shown)


def on_this_run() -> None:
    """Batches, the layer's own line, replays and, once measured, the population."""
    chosen = selection(run).model_copy(update={"unbiased": variance_control(run)})
    figure_board(run, chosen, ["running_stats/estimates"], key="estimates_board")


@st.fragment
def which_momentum() -> None:
    """Each estimator in the same weights."""
    comparison(run, variant).panel()
    figure_board(run, selection(run), MOMENTUM, key="comparison_board")


@st.fragment
def how_many_images() -> None:
    """Population statistics from few images."""
    sample_size(run, variant).panel()
    figure_board(run, selection(run), ["running_stats/images"], key="images_board")


@st.fragment
def by_batch_size() -> None:
    """The map of momentum x batch size."""
    images = images_control()
    momentum_map_panel(run, variant, images)
    chosen = selection(run).model_copy(update={"images": images})
    figure_board(run, chosen, MAP, key="map_board")


def start_and_eps() -> None:
    """What the start value does to the first steps, and eps to each channel."""
    figure_board(run, selection(run), START, key="start_board")


VIEWS = {
    "run": on_this_run,
    "momentum": which_momentum,
    "images": how_many_images,
    "map": by_batch_size,
    "start": start_and_eps,
}

if view == "demo":
    demo()
elif not run.with_statistics:
    train_again_with_bn(
        run, _("This run has no BN, so there are no running statistics. Choose another run, or:")
    )
else:
    st.caption(run.origin())
    watch_run(run, checkpoints=view in ("momentum", "images"))
    in_sidebar, sliders = NEEDS[view]
    selection_controls(run, in_sidebar, with_bn=True)
    with st.sidebar:
        slider_controls(run, sliders)
    variant = run.variant(selection(run).variant, with_statistics=True)
    VIEWS[view]()
