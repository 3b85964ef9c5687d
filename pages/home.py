"""Home: what BN does, one figure that answers to a slider, one button."""

import streamlit as st

from bnviz.app import router, runs
from bnviz.app.card_grid import figure_board
from bnviz.app.preload import warm_up
from bnviz.i18n import _
from bnviz.records.store import RECORDED_ID
from bnviz.selection import Selection
from bnviz.subjects.home import sections
from bnviz.subjects.training import controls_section
from bnviz.training.process import find_run_view

st.title(_("See what Batch Normalization does"))
st.markdown(
    _(
        "While a network trains, the numbers that reach each layer drift. **Batch Normalization** "
        "subtracts the mean of the present batch and divides by its standard deviation, channel by "
        "channel, then scales and shifts by two learned numbers. For use after training it keeps "
        "running averages of both: **train mode** normalizes by the batch, **eval mode** by those "
        "averages, and most trouble with BN begins where the two differ."
    )
)
run = find_run_view(RECORDED_ID)
with st.container(horizontal=True, gap="large", vertical_alignment="bottom"):
    layer = sections.layer_control()
    step = sections.step_slider(run)
figure_board(run, Selection(layer=layer, step=step), ["home/before_after"], key="home")
st.caption(run.origin())

st.subheader(_("Now with your own eyes"))
st.markdown(
    _(
        "Train a LeNet with a hand-written BatchNorm and with `nn.BatchNorm` on Fashion-MNIST: "
        "loss, activations, running statistics and memory, live, in about two minutes."
    )
)
if st.button(_("Train it live"), type="primary", icon=":material/play_arrow:", key="train_live"):
    controls_section.start()
    shown = st.session_state.get(runs.RUN_KEY, RECORDED_ID)
    st.switch_page(router.page("train"), query_params={runs.RUN_KEY: shown})
warm_up(_after_s=1.0)
