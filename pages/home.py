"""Home: what BN does, one figure that answers to a slider, one button."""

import streamlit as st

from bnviz.app import router, runs
from bnviz.app.card_grid import figure_board
from bnviz.app.preload import warm_up
from bnviz.app.task_panel import watch_run
from bnviz.i18n import _
from bnviz.records.store import RECORDED_ID
from bnviz.selection import Selection
from bnviz.subjects.home import sections
from bnviz.subjects.training import controls_section
from bnviz.training.process import find_run_view, jobs

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
if (job := jobs().going_on) is not None:
    with st.container(border=True, key="going_on"):
        watch_run(find_run_view(job.id))
        st.page_link(
            router.page("train"), label=_("A run is training now: watch it"), icon=":material/monitoring:",
            query_params={runs.RUN_KEY: job.id},
        )  # fmt: skip
run = find_run_view(RECORDED_ID)
with st.container(horizontal=True, gap="large", vertical_alignment="bottom"):
    layer = sections.layer_control()
    step = sections.step_slider(run)
figure_board(run, Selection(layer=layer, step=step), ["home/before_after"], key="home")
st.caption(run.origin())

live, differs, own = st.columns(3, gap="medium", border=True)
with live:
    st.subheader(_("Train it live"))
    st.markdown(
        _(
            "A LeNet with a hand-written BatchNorm and one with `nn.BatchNorm` on Fashion-MNIST: loss, "
            "activations, running statistics and memory, live, in about two minutes."
        )
    )
    if st.button(
        _("Train it live"), type="primary", icon=":material/play_arrow:", key="train_live"
    ):
        controls_section.start()
        shown = st.session_state.get(runs.RUN_KEY, RECORDED_ID)
        st.switch_page(router.page("train"), query_params={runs.RUN_KEY: shown})
with differs:
    st.subheader(_("Find out why eval differs"))
    st.markdown(
        _(
            "The same test images through both modes of the same weights: which answers change, in "
            "which layer the modes part, and what recalibrating would give."
        )
    )
    st.page_link(
        router.page("train_vs_eval"),
        label=_("Train vs eval"),
        icon=":material/compare_arrows:",
    )
with own:
    st.subheader(_("Check a layer or a loop of your own"))
    st.markdown(
        _(
            "Compare your BatchNorm with torch's in every case, and see what your training loop keeps "
            "alive."
        )
    )
    st.page_link(
        router.page("anatomy"),
        label=_("Check a layer"),
        icon=":material/fact_check:",
        query_params={"view": "check"},
    )
    st.page_link(
        router.page("memory"),
        label=_("Check a loop"),
        icon=":material/memory:",
        query_params={"view": "own"},
    )
warm_up(_after_s=1.0)
