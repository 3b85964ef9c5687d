"""The race of the estimators: the same weights with the running statistics of each."""

import pandas as pd
import streamlit as st

from bnviz.app.registry import jobs
from bnviz.app.runs import RunView, view
from bnviz.app.task_panel import Key, found, newest_checkpoint, start_button, watch
from bnviz.charts.card import HEIGHT, Card
from bnviz.evaluation.population import precise_batch
from bnviz.i18n import _
from bnviz.records.momentum_maps import COMPARED_MOMENTA
from bnviz.records.recorded_statistics import eps_at
from bnviz.subjects.running_stats.estimates_section import Choice
from bnviz.subjects.running_stats.estimator_comparison import (
    EstimatorComparison,
    compare_estimators_over_run,
    errors_over_checkpoints,
)
from bnviz.subjects.running_stats.estimator_comparison_figures import (
    accuracy_over_momentum,
    errors_over_steps,
    estimator_label,
)
from bnviz.training.checkpoints import accuracy_with

EVALUATION_S = 0.8
"""About how long an evaluation on all test images takes."""


def race_key(run: RunView, variant: str) -> Key:
    """The race's place among the measurements of the process."""
    return (run.id, "race", variant)


def race(run: RunView, chosen: Choice) -> EstimatorComparison | None:
    """What was measured of the chosen variant; until then a button, a progress bar or an error."""
    key, variant, source = race_key(run, chosen.variant), chosen.variant, run.source
    known: EstimatorComparison | None = found(key)
    if watch(key):
        return known
    newest = newest_checkpoint(run, variant)
    if known is None:
        st.markdown(_question(run, variant))
        start_button(
            _("Measure"), key, lambda progress: compare_estimators_over_run(source, variant, progress),
            disabled=newest is None, help=_("The first checkpoint comes after 20 steps of a run."),
        )  # fmt: skip
    elif newest is not None and newest > known.step:
        start_button(
            _("Measure again, at step {step:,}").format(step=newest), key,
            lambda progress: compare_estimators_over_run(source, variant, progress), again=True,
            help=_("What is shown was measured at step {step:,}.").format(step=known.step),
        )  # fmt: skip
    return known


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


@st.cache_data(max_entries=256, show_spinner=False)
def accuracy_of(run_id: str, variant: str, step: int, momentum: float, eps: float) -> float:
    """`accuracy_with` of a run by its id; a repeat is instant. Whatever trains gives way."""
    jobs().yield_cpu(EVALUATION_S)
    return accuracy_with(view(run_id).source, variant, step, momentum, eps=eps)


def race_cards(run: RunView, chosen: Choice, measured: EstimatorComparison) -> list[Card]:
    """Accuracy over momentum at the newest measured checkpoint, errors over all of them."""
    return [_accuracy_card(run, chosen, measured), _errors_card(run, chosen, measured)]


def _accuracy_card(run: RunView, chosen: Choice, measured: EstimatorComparison) -> Card:
    mine = accuracy_of(run.id, chosen.variant, measured.step, chosen.momentum, chosen.eps)
    points = {m: a for m, a in measured.accuracy.items() if isinstance(m, float)}
    curve = pd.DataFrame(sorted(points.items()), columns=["momentum", "accuracy"])
    best = curve[curve["accuracy"] == curve["accuracy"].max()]
    named = ", ".join(f"{m:g}" for m in best["momentum"])
    by_layer, one_pass = (measured.accuracy[how] for how in ("layer_by_layer", "one_pass"))
    batch = precise_batch(run.config.batch_size)
    return Card(
        key="race",
        title=_("The same weights, other running statistics: best of those tried, m = {m}").format(
            m=named
        ),
        figure=accuracy_over_momentum(
            curve,
            {
                _("population, layer by layer"): by_layer,
                _("population in one pass of batch {batch}").format(batch=batch): one_pass,
                _("plain mean of all batches"): measured.accuracy[None],
            },
            (chosen.momentum, mine),
            (run.config.momentum, measured.accuracy["own"]),
            chosen.variant,
        ),
        sentence=_(
            "{label} at step {step:,}, eval mode on the test images: {mine:.1%} at the sliders' "
            "m = {m:g} and eps {eps:g}; the curve has the run's own eps {own_eps:g}, and {best:.1%} "
            "at its best; the layers' own statistics come to {own:.1%}. With the statistics of {images:,} "
            "training images {by_layer:.1%} measured layer by layer and {one_pass:.1%} in one "
            "pass, where each layer normalizes by its batch of {batch}; {average:.1%} with the "
            "plain mean of all batches."
        ).format(
            label=run.labels[chosen.variant],
            step=measured.step,
            mine=mine,
            m=chosen.momentum,
            eps=chosen.eps,
            best=curve["accuracy"].max(),
            own=measured.accuracy["own"],
            own_eps=eps_at(run.config, run.history, measured.step),
            images=measured.images,
            by_layer=by_layer,
            one_pass=one_pass,
            batch=batch,
            average=measured.accuracy[None],
        ),
        alt=_("Accuracy in eval mode over the momentum of the running statistics"),
        height=HEIGHT,
        asked=f"{chosen}",
    )


def _errors_card(run: RunView, chosen: Choice, measured: EstimatorComparison) -> Card:
    errors = _errors(run.id, chosen.variant, chosen.layer, chosen.momentum, measured.step, measured)
    last = errors[errors["step"] == errors["step"].max()].set_index("estimator")
    return Card(
        key="errors",
        title=_("How far each is from the truth: {layer}").format(layer=chosen.layer),
        figure=errors_over_steps(
            errors,
            {
                "own": _("{label}: its own").format(label=run.labels[chosen.variant]),
                **{n: estimator_label(n, chosen.momentum) for n in ("ema", "corrected", "average")},
                "one_pass": _("population in one pass"),
            },
            chosen.variant,
        ),
        sentence=_(
            "At step {step:,} the variance of {layer} is wrong by {ema:.0%} with the EMA at "
            "m = {m:g} and by {average:.0%} with the plain mean (root mean square over its channels)."
        ).format(
            step=int(errors["step"].max()),
            layer=chosen.layer,
            m=chosen.momentum,
            ema=last.loc["ema", "var_error"],
            average=last.loc["average", "var_error"],
        ),
        alt=_("Error of each estimator against the population at each checkpoint"),
        height=HEIGHT,
        asked=f"{chosen}",
    )


@st.cache_data(max_entries=128, show_spinner=False)
def _errors(
    run_id: str,
    variant: str,
    layer: str,
    momentum: float,
    measured_step: int,
    _measured: EstimatorComparison,
) -> pd.DataFrame:
    """`errors_over_checkpoints`; a page that ticks does not replay the run again."""
    source = view(run_id).source
    return errors_over_checkpoints(source, variant, layer, momentum, _measured)
