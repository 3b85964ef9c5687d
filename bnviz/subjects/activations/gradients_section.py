"""Backward: the gradient at each BN layer, of each weight, and how far a step moves the weights."""

import streamlit as st

from bnviz.app.rerun_button import beside_none, train_again, with_changes
from bnviz.config import RunConfig
from bnviz.i18n import _
from bnviz.training.run_view import RunView


def cost(run: RunView) -> str:
    """What recording the gradients cost this run, measured on it; empty where it is not known."""
    share = (run.summary or {}).get("gradients_share")
    if share is None and run.job is not None and run.job.steps_done:
        share = run.job.gradients_share
    if share is None or not run.config.gradients:
        return ""
    template = (
        _("Recording gradients takes {share:.1%} of this run's time so far.")
        if run.live
        else _("Recording gradients took {share:.1%} of this run's time.")
    )
    return template.format(share=share)


def empty(run: RunView) -> None:
    """Why a run shows no gradients, and a button that gets them."""
    config = with_gradients(run.config)
    added = len(config.variants) > len(run.config.variants)
    st.info(
        _(
            "This run did not record its gradients: looking inside each probed step costs time, "
            "so a run must ask for it. The same settings train again with gradients on."
        ),
        icon=":material/south:",
    )
    train_again(
        config, key="record_gradients",
        label=_("Train again with gradients recorded, and without BN beside it")
        if added
        else _("Train again with gradients recorded"),
    )  # fmt: skip


def with_gradients(config: RunConfig) -> RunConfig:
    """The same run with gradients recorded, and the variant without BN to compare with."""
    return with_changes(config, gradients=True, variants=beside_none(config))
