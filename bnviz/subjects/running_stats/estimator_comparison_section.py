"""Estimators compared: the task that measures the same weights with the running statistics of each."""

from bnviz.app.task_panel import Task, task_on_weights
from bnviz.i18n import _
from bnviz.records.momentum_maps import COMPARED_MOMENTA
from bnviz.subjects.running_stats.comparison_figures import comparison_key
from bnviz.training.run_view import RunView

SECONDS_A_CHECKPOINT, SECONDS_AN_ESTIMATOR = 1.0, 0.5


def comparison(run: RunView, variant: str) -> Task:
    """Each estimator tried on the newest weights of `variant`."""
    from bnviz.subjects.running_stats.estimator_comparison import compare_estimators_over_run

    checkpoints, tries = len(run.source.checkpoints(variant)), len(COMPARED_MOMENTA) + 4
    return task_on_weights(
        run,
        variant,
        key=comparison_key(run, variant),
        measure=lambda progress: compare_estimators_over_run(run.source, variant, progress),
        measured_at=lambda found: found.step,
        expected_s=checkpoints * SECONDS_A_CHECKPOINT + tries * SECONDS_AN_ESTIMATOR,
        question=_(
            "**Which momentum is best, and why not simply average?** Running statistics never "
            "influence training, so each estimator can be tried in the very same weights. This "
            "takes the population's statistics at every checkpoint of {label} ({count} so far) and "
            "tests {tries} settings on the test images, once a run."
        ).format(label=run.labels[variant], count=checkpoints, tries=tries),
    )
