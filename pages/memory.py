"""Memory: watch a graph that nobody lets go of, find what holds it, release it; and what needs no leak."""

import streamlit as st

from bnviz.app.card_grid import plainly
from bnviz.app.controls import choice_control, selection_controls
from bnviz.app.preload import warm_up
from bnviz.app.sessions import is_connected, session_id
from bnviz.i18n import _
from bnviz.records.store import RECORDED_ID
from bnviz.subjects.memory import (
    chain_section,
    memory_experiment_section,
    process_growth_section,
    saved_tensors_section,
)
from bnviz.subjects.memory.experiment_runner import ask_whether_connected, lab
from bnviz.training.process import find_run_view

EXPERIMENT = "memory_experiment"  # the key of the fragment that answers to the sidebar
OWN_MODEL = """from bnviz.census import census, watch

with watch(model) as seen:              # notes in which layer each node is made
    for inputs, labels in loader:
        train_step(model, inputs, labels)
        seen.update()                   # counts what this step left behind
print(seen.verdict())
print(seen.table())                     # by layer and operation
print(census(model, losses).bytes)      # right now, lists of losses included"""

warm_up()
st.title(_("Memory"))
st.caption(
    _(
        "The note's layer ran out of memory and torch's did not. Two things are needed for "
        "that: running statistics that keep their graph, and test batches that run forward in "
        "train mode with gradients on. Remove either and see what stays."
    )
)
view = choice_control(
    _("View"),
    {
        "experiment": _("Experiment"),
        "chain": _("What holds it"),
        "process": _("Process memory"),
        "saved": _("Saved for backward"),
        "own": _("Your own loop"),
    },
    "view",
    help=_("An experiment that is going on goes on in every view of this page."),
)
ask_whether_connected(is_connected)
if (experiment := lab().experiment) is not None:
    experiment.watch(session_id())


@st.fragment(key=EXPERIMENT)
def the_experiment() -> None:
    """Switches, measurement, what releases it, and the prediction in numbers."""
    memory_experiment_section.switches()
    with plainly():
        config = memory_experiment_section.chosen()
        memory_experiment_section.show(config)
        memory_experiment_section.prediction_metrics(config)


def with_sizes() -> None:
    """The experiment, its sizes in the sidebar."""
    with st.sidebar:
        memory_experiment_section.sizes(answers=EXPERIMENT)
    the_experiment()


def what_holds_it() -> None:
    """The living chain, or the one that shapes predict."""
    selection_controls(find_run_view(RECORDED_ID), ("layer",))
    memory_experiment_section.state()
    with plainly():
        chain_section.show(memory_experiment_section.chosen())


def process_memory() -> None:
    """Why the process grows more than its tensors."""
    process_growth_section.section()


def saved_for_backward() -> None:
    """What needs no leak."""
    st.caption(
        _(
            "Normal training: every training step saves tensors for its backward pass and "
            "frees them there. How many, and how high memory climbs in between, depends on how "
            "BN is written."
        )
    )
    saved_tensors_section.section()


def your_own_loop() -> None:
    """The census for any module."""
    st.markdown(
        _(
            "The same census for any module, and for lists of losses and outputs beside it. It reads "
            "the graph and keeps nothing of it alive. A worked example stands in "
            "`docs/keeping-a-graph.md`: is my training loop keeping a graph?"
        )
    )
    st.code(OWN_MODEL, language="python")


{
    "experiment": with_sizes,
    "chain": what_holds_it,
    "process": process_memory,
    "saved": saved_for_backward,
    "own": your_own_loop,
}[view]()
