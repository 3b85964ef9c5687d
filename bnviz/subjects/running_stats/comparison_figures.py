"""Estimators compared in the same weights, as cards."""

from functools import lru_cache
from typing import TYPE_CHECKING

import pandas as pd

from bnviz.charts.applies import bn_figure
from bnviz.charts.card import HEIGHT, Card
from bnviz.charts.task_words import not_measured
from bnviz.i18n import N_, _, listed
from bnviz.records.recorded_statistics import eps_at, precise_batch
from bnviz.selection import Selection
from bnviz.subjects.running_stats.estimator_comparison_figures import (
    ESTIMATORS,
    accuracy_over_momentum,
    errors_over_steps,
    estimator_label,
)
from bnviz.training.process import jobs, measurements
from bnviz.training.run_view import RunView
from bnviz.training.tasks import Key

if TYPE_CHECKING:
    from bnviz.subjects.running_stats.estimator_comparison import EstimatorComparison

EVALUATION_S = 0.8
"""About how long an evaluation on all test images takes."""


def comparison_key(run: RunView, variant: str) -> Key:
    """Its place among the tasks of the process."""
    return (run.id, "estimators", variant)


def compared(run: RunView, chosen: Selection) -> "EstimatorComparison | None":
    """What was measured of the chosen variant, if anything was."""
    task = measurements().get(*comparison_key(run, chosen.variant))
    return task.found if task is not None else None


def measured_comparison(run: RunView, chosen: Selection) -> "EstimatorComparison":
    """What was measured. Raises NotReady before that, with how far it is."""
    found = compared(run, chosen)
    if found is None:
        raise not_measured(comparison_key(run, chosen.variant))
    return found


@lru_cache(maxsize=256)
def accuracy_of(run: RunView, variant: str, step: int, momentum: float, eps: float) -> float:
    """`accuracy_with` of a run by its id; a repeat is instant. Whatever trains gives way."""
    from bnviz.training.checkpoints import accuracy_with

    jobs().yield_cpu(EVALUATION_S)
    return accuracy_with(run.source, variant, step, momentum, eps=eps)


@bn_figure(
    "running_stats/estimators",
    N_("Accuracy by the momentum of the running statistics"),
    needs=("variant", "momentum", "eps"),
)
def accuracy_by_momentum(run: RunView, chosen: Selection) -> Card:
    """Accuracy by the momentum of the running statistics."""
    chosen = run.settled(chosen)
    measured = measured_comparison(run, chosen)
    accuracy = measured.accuracy
    mine = accuracy_of(run, chosen.variant, measured.step, chosen.momentum, chosen.eps)
    points = sorted((m, a) for m, a in accuracy.items() if isinstance(m, float))
    curve = pd.DataFrame(points, columns=["momentum", "accuracy"])
    best = curve[curve["accuracy"] == curve["accuracy"].max()]
    batch, one_pass = precise_batch(run.config.batch_size), _("population in one pass of batch {n}")
    references = {
        _("population, layer by layer"): accuracy["layer_by_layer"],
        one_pass.format(n=batch): accuracy["one_pass"],
        _("plain mean of all batches"): accuracy[None],
    }
    at, own = (chosen.momentum, mine), (run.settings_at(measured.step)["momentum"], accuracy["own"])
    return Card(
        key="estimators",
        title=_("The same weights, other running statistics: best of those tried, m = {m}").format(
            m=listed(f"{m:g}" for m in best["momentum"])
        ),
        figure=accuracy_over_momentum(curve, references, at, own, chosen.variant),
        sentence=_accuracy_sentence(run, chosen, measured, mine, curve["accuracy"].max()),
        alt=_("Accuracy in eval mode over the momentum of the running statistics"),
        height=HEIGHT,
        asked=f"{chosen}",
    )


def _accuracy_sentence(
    run: RunView, chosen: Selection, measured: "EstimatorComparison", mine: float, best: float
) -> str:
    """What each estimator comes to: `mine` at the sliders, `best` of those tried (0 to 1)."""
    return _(
        "{label} at step {step:,}, eval mode on the test images: {mine:.1%} at the sliders' "
        "m = {m:g} and eps {eps:g}; the curve has the run's own eps {own_eps:g}, and {best:.1%} "
        "at its best; the layers' own statistics come to {own:.1%}. With the statistics of {images:,} "
        "training images {by_layer:.1%} measured layer by layer and {one_pass:.1%} in one "
        "pass, where each layer normalizes by its batch of {batch}; {average:.1%} with the "
        "plain mean of all batches."
    ).format(
        label=run.labels[chosen.variant], step=measured.step, mine=mine, best=best,
        m=chosen.momentum, eps=chosen.eps, own=measured.accuracy["own"],
        own_eps=eps_at(run.config, run.history, measured.step), images=measured.images,
        by_layer=measured.accuracy["layer_by_layer"], one_pass=measured.accuracy["one_pass"],
        batch=precise_batch(run.config.batch_size), average=measured.accuracy[None],
    )  # fmt: skip


@bn_figure(
    "running_stats/errors",
    N_("Error of each estimator against the population"),
    needs=("variant", "layer", "momentum"),
)
def estimator_errors(run: RunView, chosen: Selection) -> Card:
    """Error of each estimator against the population."""
    chosen = run.settled(chosen)
    layer, momentum = chosen.layer, chosen.momentum
    measured = measured_comparison(run, chosen)
    errors = _errors(run, chosen.variant, layer, momentum, measured.step)
    newest = errors["step"].max()
    last = errors[errors["step"] == newest].set_index("estimator")["var_error"]
    return Card(
        key="errors",
        title=_("Error of each estimator against the population: {layer}").format(layer=layer),
        figure=errors_over_steps(errors, _names(run, chosen), chosen.variant),
        sentence=_(
            "At step {step:,} the variance of {layer} is wrong by {ema:.0%} with the EMA at "
            "m = {m:g} and by {average:.0%} with the plain mean (root mean square over its channels)."
        ).format(
            step=int(newest), layer=layer, m=momentum, ema=last["ema"], average=last["average"]
        ),
        alt=_("Error of each estimator against the population at each checkpoint"),
        height=HEIGHT,
        asked=f"{chosen}",
    )


def _names(run: RunView, chosen: Selection) -> dict[str, str]:
    """What the legend calls each estimator."""
    return {
        "own": _("{label}: its own").format(label=run.labels[chosen.variant]),
        **{name: estimator_label(name, chosen.momentum) for name in ESTIMATORS},
        "one_pass": _("population in one pass"),
    }


@lru_cache(maxsize=128)
def _errors(run: RunView, variant: str, layer: str, momentum: float, _step: int) -> pd.DataFrame:
    """`errors_over_checkpoints` of what was measured at a step; a repeat is instant."""
    from bnviz.subjects.running_stats.estimator_comparison import errors_over_checkpoints

    found = measurements().get(*comparison_key(run, variant))
    assert found is not None
    return errors_over_checkpoints(run.source, variant, layer, momentum, found.found)
