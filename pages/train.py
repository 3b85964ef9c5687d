"""Train: the cockpit of a live run with its four views."""

import streamlit as st

from bnviz.app import runs
from bnviz.app.card_grid import board
from bnviz.app.preload import warm_up
from bnviz.app.runs import RunView
from bnviz.charts.card import Card
from bnviz.i18n import _
from bnviz.nn.variants import VARIANTS
from bnviz.records.schema import LAYERS
from bnviz.subjects.activations.stages_section import stages_card
from bnviz.subjects.memory.kept_section import memory_card
from bnviz.subjects.running_stats.running_section import running_card
from bnviz.subjects.training import controls_section, views_section

VIEWS = "views"  # the key of the fragment that answers to the sliders

warm_up()
run = runs.choose_run()
controls_section.sidebar(run, answers=VIEWS)

st.title(_("Train"))
st.caption(
    _(
        "The same LeNet with different norm layers, same weights at the start, same batches in the "
        "same order. What differs is the norm alone."
    )
)
ticking = run.live
every = 0.5 if ticking else None


def four_cards(run: RunView) -> list[Card]:
    """The four views of `run` as the controls have them; three where nothing has statistics."""
    chosen = st.session_state
    layer, share = chosen["layer"], chosen["look_back"]
    channels = sorted({min(c, LAYERS[layer] - 1) for c in chosen["channels"]}) or [0]
    step = None if share == 100 else round(share / 100 * run.total_steps)
    with_bn = any(VARIANTS[v].normalizes for v in run.config.variants)
    return [
        views_section.curves_card(run),
        stages_card(run, layer, step),
        *([running_card(run, layer, channels, chosen["momentum"])] if with_bn else []),
        memory_card(run),
    ]


@st.fragment(run_every=every)
def cockpit_bar() -> None:
    """One tick of the controls; the last one lets the page settle."""
    if run.job is not None:
        run.job.watch()
    controls_section.controls(run)
    controls_section.messages(run)
    controls_section.progress(run)
    st.caption(run.origin() + "  \n" + run.settings())
    if run.live != ticking or run.is_left():
        st.rerun()


@st.fragment(run_every=every, key=VIEWS)
def four_views() -> None:
    """One tick of the figures, or the answer to a control."""
    board(four_cards(run), key="train_views", revision=run.id)


cockpit_bar()
views_section.controls(run, answers=VIEWS)
four_views()
note = views_section.difference_note(run.config)
if note:
    st.caption(note)
