"""Train: the cockpit of a live run with its four views."""

import streamlit as st

from bnviz.figures.theme import LAYER_LABELS
from bnviz.i18n import _
from bnviz.train.schema import LAYERS
from bnviz.ui import cockpit, runs, views
from bnviz.ui.board import board
from bnviz.ui.warm import warm_up

warm_up()
run = runs.choose_run()
cockpit.sidebar(run)

st.title(_("Train"))
st.caption(
    _(
        "The same LeNet with different norm layers, same weights at the start, same batches in the "
        "same order. What differs is the norm alone."
    )
)
ticking = run.live
every = 0.5 if ticking else None


@st.fragment(run_every=every)
def cockpit_bar() -> None:
    """One tick of the controls; the last one lets the page settle."""
    if run.job is not None:
        run.job.watch()
    cockpit.controls(run)
    cockpit.messages(run)
    cockpit.progress(run)
    st.caption(run.origin() + "  \n" + run.settings())
    if run.live != ticking or st.session_state[runs.RUN_KEY] != run.id:
        st.rerun()


cockpit_bar()
with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
    layer = st.segmented_control(
        _("BN layer"), list(LAYERS), default="conv1", required=True, key="layer",
        bind="query-params", help=_("The layer whose activations and statistics are shown."),
    )  # fmt: skip
    chosen = st.multiselect(
        _("Channels"), range(max(LAYERS.values())), default=[0], key="channels",
        bind="query-params", width=220, max_selections=3,
        help=_("Whose running statistics are shown, up to three. {layer}.").format(
            layer=_(LAYER_LABELS[layer])
        ),
    )  # fmt: skip
    share = st.slider(
        _("Look back (100 % = newest)"), 0, 100, 100, format="%d %%", key="look_back",
        bind="query-params", width=260,
        help=_("Where in the recorded steps the activations are taken from."),
    )  # fmt: skip
channels = sorted({min(c, LAYERS[layer] - 1) for c in chosen}) or [0]
step = None if share == 100 else round(share / 100 * run.total_steps)


@st.fragment(run_every=every)
def four_views() -> None:
    """One tick of the figures."""
    momentum = st.session_state["momentum"]
    board(
        [
            views.curves_card(run),
            views.stages_card(run, layer, step),
            views.running_card(run, layer, channels, momentum),
            views.memory_card(run),
        ],
        key="train_views",
        revision=run.id,
    )


four_views()
note = views.difference_note(run.config)
if note:
    st.caption(note)
