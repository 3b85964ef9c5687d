"""The controls of Home, which act on the recorded run."""

import streamlit as st

from bnviz.app.controls import choice_control
from bnviz.i18n import _
from bnviz.records.schema import LAYERS, stages_table
from bnviz.subjects.home.before_after_figures import VARIANT
from bnviz.training.run_view import RunView


def layer_control() -> str:
    """Which BN layer the figure shows."""
    return choice_control(
        _("BN layer"), {layer: layer for layer in LAYERS}, "home_layer", default="fc1",
        help=_("From the first convolution to the last hidden layer."),
    )  # fmt: skip


def step_slider(run: RunView) -> int:
    """Which probe of the recorded run the figure shows."""
    steps = run.history[stages_table(VARIANT)].column("step").tolist()
    return st.select_slider(
        _("Training step: move me"), steps, value=steps[-1], key="home_step",
        bind="query-params", width=420,
        help=_("Move it and watch the left side drift while the right side stays."),
    )  # fmt: skip
