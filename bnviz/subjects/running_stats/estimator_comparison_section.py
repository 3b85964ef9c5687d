"""Estimators compared: the button that measures the same weights with the running statistics of each."""

from typing import TYPE_CHECKING

import streamlit as st

from bnviz.app.task_panel import found, newest_checkpoint, start_button, watch
from bnviz.config import EARLY_EVALUATIONS
from bnviz.i18n import _
from bnviz.records.momentum_maps import COMPARED_MOMENTA
from bnviz.subjects.running_stats.comparison_figures import comparison_key
from bnviz.training.run_view import RunView
from bnviz.training.tasks import Progress

if TYPE_CHECKING:
    from bnviz.subjects.running_stats.estimator_comparison import EstimatorComparison


def comparison_panel(run: RunView, variant: str) -> None:
    """Until it is measured a button, a progress bar or an error; then a button for newer weights."""
    key, source = comparison_key(run, variant), run.source
    known: EstimatorComparison | None = found(key)

    def work(progress: Progress) -> "EstimatorComparison":
        from bnviz.subjects.running_stats.estimator_comparison import compare_estimators_over_run

        return compare_estimators_over_run(source, variant, progress)

    if watch(key):
        return
    newest = newest_checkpoint(run, variant)
    if known is None:
        st.markdown(_question(run, variant))
        start_button(
            _("Measure"), key, work,
            disabled=newest is None, help=_("The first checkpoint comes after {first} steps of a run.").format(first=EARLY_EVALUATIONS[0]),
        )  # fmt: skip
    elif newest is not None and newest > known.step:
        start_button(
            _("Measure again, at step {step:,}").format(step=newest), key, work, again=True,
            help=_("What is shown was measured at step {step:,}.").format(step=known.step),
        )  # fmt: skip


def _question(run: RunView, variant: str) -> str:
    return _(
        "**Which momentum is best, and why not simply average?** Running statistics never "
        "influence training, so each estimator can be tried in the very same weights. This "
        "takes the population's statistics at every checkpoint of {label} ({count} so far) and "
        "tests {tries} settings on the test images: some seconds, once a run."
    ).format(
        label=run.labels[variant],
        count=len(run.source.checkpoints(variant)),
        tries=len(COMPARED_MOMENTA) + 4,
    )
