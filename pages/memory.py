"""Memory: watch a graph that nobody lets go of, find what holds it, cut it; and what needs no leak."""

import streamlit as st

from bnviz.app.card_grid import plainly
from bnviz.app.preload import warm_up
from bnviz.app.sessions import session_id
from bnviz.i18n import _
from bnviz.subjects.memory import (
    chain_section,
    memory_experiment_section,
    process_growth_section,
    saved_tensors_section,
)
from bnviz.subjects.memory.sections import lab

TICK_S = 1.0
CHAIN_TICK_S = 4.0
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
        "The note's layer ran out of memory and torch's did not. Two things are needed for that: "
        "running statistics that keep their graph, and test batches that run forward in train mode "
        "with gradients on. Take either away and see what stays."
    )
)
st.subheader(_("The experiment"))
ticking = TICK_S if lab().going_on else None


@st.fragment(run_every=ticking, key="memory_lab")
def the_experiment() -> None:
    """Controls, prediction, measurement, cuts, and what holds it all."""
    if lab().experiment is not None:
        lab().experiment.watch(session_id())
    memory_experiment_section.controls()
    with plainly():
        config = memory_experiment_section.chosen()
        memory_experiment_section.prediction_metrics(config)
        memory_experiment_section.show(config)
    if (ticking is not None) != lab().going_on:
        st.rerun()


@st.fragment(run_every=CHAIN_TICK_S if ticking else None, key="memory_chain")
def what_holds_it() -> None:
    """The living chain; it changes little from tick to tick, so it is walked less often."""
    with plainly():
        chain_section.show(memory_experiment_section.chosen())


the_experiment()
st.subheader(_("What keeps it alive"))
what_holds_it()
st.subheader(_("Why the process grows more than its tensors"))
process_growth_section.section()
st.subheader(_("Without any leak"))
st.caption(
    _(
        "Every training step saves tensors for its backward pass and frees them in it. How many, "
        "and how high memory climbs meanwhile, depends on how BN is written."
    )
)
saved_tensors_section.section()
st.subheader(_("Your own model"))
st.markdown(
    _(
        "The same census for any module, and for lists of losses and outputs beside it. It reads "
        "the graph and keeps nothing of it alive. A worked example stands in "
        "`docs/keeping-a-graph.md`: is my training loop keeping a graph?"
    )
)
st.code(OWN_MODEL, language="python")
