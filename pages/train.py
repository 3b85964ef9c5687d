"""Train: a live run with its four views."""

import streamlit as st

from bnviz.app import runs
from bnviz.app.card_grid import figure_board
from bnviz.app.controls import selection, selection_controls
from bnviz.app.preload import warm_up
from bnviz.app.task_panel import watch_run
from bnviz.i18n import _
from bnviz.subjects.training import controls_section

FIGURES = ("training/curves", "activations/stages", "running_stats/running", "memory/kept")

warm_up()
run = runs.choose_run()
selection_controls(run, ("layer", "channels"))
controls_section.sidebar(run)

st.title(_("Train"))
st.caption(
    _(
        "The same LeNet with different norm layers, same initial weights, same batches in the "
        "same order. Only the norm layer differs."
    )
)
controls_section.controls(run)
controls_section.messages(run)
watch_run(run, ended=True)
st.caption(run.origin() + "  \n" + run.settings())
figure_board(run, selection(run), FIGURES, key="train_views")
if note := controls_section.difference_note(run.config):
    st.caption(note)
