"""Running statistics of the run on show: replayed estimators, and how far each is from the truth."""

import threading
import traceback
from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from bnviz import data
from bnviz.analysis import estimators
from bnviz.errors import BnvizError, RunError
from bnviz.figures.race import (
    ESTIMATORS,
    accuracy_over_momentum,
    errors_over_steps,
    estimates_over_steps,
    estimator_label,
    first_steps,
    share_of_eps,
)
from bnviz.i18n import _
from bnviz.nn.variants import VARIANTS
from bnviz.train.reading import eps_at, replay_layer, replayed_statistics, starting_statistics
from bnviz.train.schema import LAYERS, layer_slice, steps_table
from bnviz.ui.live import Card
from bnviz.ui.runs import RunView, view
from bnviz.ui.views import answered_by, layer_control, running_view

MOMENTA = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.5, 0.9, 1.0)
POPULATION_IMAGES = 10_000
FIRST_STEPS = 100
EPS_MATTERS = 0.01  # share of var + eps
HEIGHT = 430
Statistics = dict[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Choice:
    """What the reader looks at."""

    variant: str
    layer: str
    channel: int
    momentum: float
    eps: float


def with_statistics(run: RunView) -> list[str]:
    """The variants of the run that have running statistics."""
    return [v for v in run.config.variants if VARIANTS[v].normalizes]


@st.fragment
def controls(run: RunView, *, answers: str) -> None:
    """Variant, layer and channel; `answers` is the key of the fragment with the figures."""

    changed = answered_by(answers)
    variants = with_statistics(run)
    if st.session_state.get("stats_variant") not in variants:
        st.session_state.pop("stats_variant", None)
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        st.segmented_control(
            _("Variant"), variants, default=variants[-1], required=True, key="stats_variant",
            bind="query-params", format_func=lambda v: _(VARIANTS[v].label), on_change=changed,
            help=_("Whose weights and batches are used."),
        )  # fmt: skip
        layer_control("stats_layer", "conv2", changed)
        st.number_input(
            _("Channel"), 0, max(LAYERS.values()) - 1, 0, key="stats_channel",
            bind="query-params", width=140, on_change=changed,
            help=_("Counted from 0; a layer with fewer channels shows its last."),
        )  # fmt: skip


def choice(run: RunView) -> Choice:
    """What the controls and the momentum slider say."""
    chosen = st.session_state
    layer = chosen["stats_layer"]
    variant = chosen["stats_variant"]
    return Choice(
        variant if variant in with_statistics(run) else with_statistics(run)[-1],
        layer,
        min(chosen["stats_channel"], LAYERS[layer] - 1),
        chosen["momentum"],
        chosen["eps"],
    )


# ---- one channel over the steps ------------------------------------------------------------------


def estimates_card(run: RunView, chosen: Choice, found: "Measured | None") -> Card:
    """Batches, the layer's own line, replays and, once measured, the population."""
    where = (run, chosen.variant, chosen.layer, (chosen.channel,))
    own = running_view(*where, chosen.momentum).series()
    average = running_view(*where, None).series()
    series: dict[str, np.ndarray] = {"step": own.get("step", np.empty(0))}
    for statistic, start in zip(
        ("mean", "var"), starting_statistics(run.config, chosen.variant), strict=False
    ):
        if not len(series["step"]):
            columns = ("batch", "running", *ESTIMATORS)
            series |= {f"{name}_{statistic}": np.empty(0) for name in columns}
            continue
        ema = own[f"replay_{statistic}"][:, 0]
        series |= {
            f"batch_{statistic}": own[f"batch_{statistic}"][:, 0],
            f"running_{statistic}": own[f"running_{statistic}"][:, 0],
            f"ema_{statistic}": ema,
            f"corrected_{statistic}": estimators.corrected(
                ema, chosen.momentum, start, series["step"]
            ),
            f"average_{statistic}": average[f"replay_{statistic}"][:, 0],
        }
    population = pd.DataFrame({"step": [], "mean": [], "var": []})
    if found is not None:
        population = pd.DataFrame(
            [
                (step, *(float(part[chosen.channel]) for part in at_step[chosen.layer]))
                for step, at_step in found.population.items()
            ],
            columns=["step", "mean", "var"],
        )
    return Card(
        key="estimates",
        title=_("Which line follows the truth? {layer}, channel {channel}").format(
            layer=chosen.layer, channel=chosen.channel
        ),
        figure=estimates_over_steps(
            series,
            population,
            chosen.variant,
            run.labels[chosen.variant],
            chosen.momentum,
            run.history.events,
        ),
        sentence=_sentence(series, chosen),
        alt=_("Running mean and variance of a channel by several estimators over the steps"),
        height=HEIGHT + 60,
        asked=f"{chosen} {found and found.step}",
    )


def _sentence(series: dict[str, np.ndarray], chosen: Choice) -> str:
    if not len(series["step"]):
        return _("Batch statistics come with the first steps of the run.")
    return _(
        "At step {step:,} the variance of this channel is {ema:.3g} by the EMA at m = {m:g}, "
        "{average:.3g} by the plain mean of all batches, and was {batch:.3g} in the last batch."
    ).format(
        step=int(series["step"][-1]),
        m=chosen.momentum,
        **{name: series[f"{name}_var"][-1] for name in ("ema", "average", "batch")},
    )


# ---- the start value and eps --------------------------------------------------------------------


def start_and_eps_cards(run: RunView, chosen: Choice) -> list[Card]:
    """What the start value does to the first steps, and eps to each channel; none without steps."""
    if not len(run.history[steps_table(chosen.variant)]):
        return []
    return [_start_card(run, chosen), _eps_card(run, chosen, own_statistics(run, chosen)[1])]


def _start_card(run: RunView, chosen: Choice) -> Card:
    # At momentum 1 the running variance is each batch's own, as the layer averages it.
    steps, _means, batch_var = replay_layer(
        run.config, run.history, chosen.variant, chosen.layer, 1.0, [chosen.channel], FIRST_STEPS
    )
    started = {
        start: estimators.replay(batch_var, batch_var, momentum=chosen.momentum, initial_var=start)[
            1
        ][:, 0]
        for start in (0.0, 1.0)
    }
    at = min(5, len(steps))
    left = estimators.start_bias(chosen.momentum, at)
    return Card(
        key="start",
        title=_("The value it starts at weighs on the first steps"),
        figure=first_steps(steps, batch_var[:, 0], started),
        sentence=_(
            "At m = {m:g}, {left:.0%} of the start value is left after {at} steps: started at 0 the "
            "variance is low by that share (factor 1 − (1 − m)ᵗ). Evaluated before any step, a "
            "variance of 0 divides by √ε and multiplies by {factor:,.0f}; torch starts at 1."
        ).format(m=chosen.momentum, left=left, at=at, factor=chosen.eps**-0.5),
        alt=_("Running variance of a channel over the first steps, started at 0 and at 1"),
        height=HEIGHT - 60,
        asked=f"{chosen}",
    )


def _eps_card(run: RunView, chosen: Choice, var: np.ndarray) -> Card:
    shares = chosen.eps / (var.astype(float) + chosen.eps)
    worst = int(shares.argmax())
    return Card(
        key="eps_share",
        title=(
            _("In {layer}, eps is not small beside the variance")
            if shares[worst] > EPS_MATTERS
            else _("In {layer}, eps is far below every variance")
        ).format(layer=chosen.layer),
        figure=share_of_eps(shares, chosen.variant),
        sentence=_(
            "{label}: with ε = {eps:g} channel {channel} has most of it, {share:.2g} % of "
            "var + ε (running variance {var:.3g}), so its outputs in eval mode shrink to "
            "{scale:.4g} %. "
            "Training saw ε = {own:g}."
        ).format(
            label=run.labels[chosen.variant],
            eps=chosen.eps,
            channel=worst,
            share=100 * shares[worst],
            var=var[worst],
            scale=100 * np.sqrt(1 - shares[worst]),
            own=run.config.eps,
        ),
        alt=_("Share of eps in the variance plus eps for each channel of the layer"),
        height=HEIGHT - 60,
        asked=f"{chosen}",
    )


# ---- the race ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """What a measurement of one variant found; statistics and accuracies by checkpoint."""

    population: dict[int, Statistics]
    """Checkpoint to layer to mean and variance at the weights of that step."""
    step: int
    """The checkpoint that the accuracies belong to."""
    accuracy: dict[float | str | None, float]
    """Momentum, None for the plain mean or ``population`` to accuracy, 0 to 1."""


class Measurement:
    """Population at each checkpoint and accuracy at each of MOMENTA, found in a thread.

    A page that ticks would cut short whatever takes longer than a tick.
    """

    def __init__(self, run: RunView, variant: str):
        self.unwanted = False
        self.found: Measured | None = None
        self.error: str | None = None
        self.done, self.parts = -1, 1
        self._run, self._variant = run, variant
        self._thread = threading.Thread(target=self._main, name="bnviz-measure", daemon=True)
        self._thread.start()

    @property
    def going_on(self) -> bool:
        """Whether it still measures."""
        return self.found is None and self.error is None

    def _main(self) -> None:
        try:
            self.found = self._measure()
        except BnvizError as error:
            self.error = str(error)
        except Exception as error:  # the page must hear of anything that ends the thread
            traceback.print_exc()
            self.error = f"{type(error).__name__}: {error}"

    def end(self) -> None:
        """Stop after the present part, and wait for that: no thread may outlive torch."""
        self.unwanted = True
        self._thread.join(timeout=20.0)

    def _part_done(self) -> None:
        if self.unwanted:
            raise RunError(_("It was stopped."))
        self.done += 1

    def _measure(self) -> Measured:
        import torch

        from bnviz.analysis.population import population_statistics
        from bnviz.train.replays import model_at

        source, variant = self._run.source, self._variant
        steps = source.checkpoints(variant)
        training = data.load(self._run.config.dataset).train_images
        images = torch.tensor(training[:POPULATION_IMAGES])
        self.parts = len(steps) + len(MOMENTA) + 2
        population: dict[int, Statistics] = {}
        for step in steps:
            self._part_done()
            population[step] = population_statistics(model_at(source, variant, step), images)
        eps = eps_at(self._run.config, self._run.history, steps[-1])
        accuracy: dict[float | str | None, float] = {}
        for momentum in (*MOMENTA, None):
            self._part_done()
            accuracy[momentum] = accuracy_with(self._run, variant, steps[-1], momentum, eps=eps)
        self._part_done()
        accuracy["population"] = accuracy_with(
            self._run, variant, steps[-1], statistics=population[steps[-1]], eps=eps
        )
        return Measured(population, steps[-1], accuracy)


@st.cache_resource
def _measurements() -> dict[tuple[str, str], Measurement]:
    return {}


def measurement(run: RunView, variant: str) -> Measurement | None:
    """The measurement of this variant of this run, or None before it was asked for."""
    return _measurements().get((run.id, variant))


def end_measurements() -> None:
    """Stop all that still measure, when the server ends."""
    for each in _measurements().values():
        each.end()


def measure(run: RunView, variant: str) -> None:
    """Begin to measure, or begin anew."""
    _measurements()[run.id, variant] = Measurement(run, variant)


def accuracy_with(
    run: RunView,
    variant: str,
    step: int,
    momentum: float | None = None,
    *,
    statistics: Statistics | None = None,
    eps: float | None = None,
) -> float:
    """Accuracy in eval mode at a checkpoint with the given statistics, or those of a momentum."""
    import torch

    from bnviz.analysis.population import evaluate_with_statistics
    from bnviz.train.replays import model_at

    if statistics is None:
        statistics = replayed_statistics(run.config, run.history, variant, momentum, step)
    images = data.load(run.config.dataset)
    return evaluate_with_statistics(
        model_at(run.source, variant, step),
        statistics,
        torch.tensor(images.test_images),
        torch.tensor(images.test_labels),
        eps=eps,
    ).accuracy


@st.cache_data(max_entries=256, show_spinner=False)
def accuracy_of(run_id: str, variant: str, step: int, momentum: float, eps: float) -> float:
    """`accuracy_with` of a run by its id; a repeat is instant."""
    return accuracy_with(view(run_id), variant, step, momentum, eps=eps)


def race_cards(run: RunView, chosen: Choice, found: Measured) -> list[Card]:
    """Accuracy over momentum at the newest measured checkpoint, errors over all of them."""
    return [_accuracy_card(run, chosen, found), _errors_card(run, chosen, found)]


def _accuracy_card(run: RunView, chosen: Choice, found: Measured) -> Card:
    mine = accuracy_of(run.id, chosen.variant, found.step, chosen.momentum, chosen.eps)
    points = {m: a for m, a in found.accuracy.items() if isinstance(m, float)}
    curve = pd.DataFrame(sorted(points.items()), columns=["momentum", "accuracy"])
    best = curve.iloc[int(curve["accuracy"].argmax())]
    return Card(
        key="race",
        title=_("The same weights, other running statistics: m = {m:g} is best here").format(
            m=best["momentum"]
        ),
        figure=accuracy_over_momentum(
            curve,
            {
                _("population"): found.accuracy["population"],
                _("plain mean of all batches"): found.accuracy[None],
            },
            (chosen.momentum, mine),
            chosen.variant,
        ),
        sentence=_(
            "{label} at step {step:,}, eval mode on the test images: {mine:.1%} at the sliders' "
            "m = {m:g} and eps {eps:g}, {best:.1%} at the best, {population:.1%} with the population's statistics, "
            "{average:.1%} with the plain mean of all batches."
        ).format(
            label=run.labels[chosen.variant],
            step=found.step,
            mine=mine,
            m=chosen.momentum,
            eps=chosen.eps,
            best=best["accuracy"],
            population=found.accuracy["population"],
            average=found.accuracy[None],
        ),
        alt=_("Accuracy in eval mode over the momentum of the running statistics"),
        height=HEIGHT,
        asked=f"{chosen}",
    )


def _errors_card(run: RunView, chosen: Choice, found: Measured) -> Card:
    errors = estimator_errors(run, chosen, found)
    last = errors[errors["step"] == errors["step"].max()].set_index("estimator")
    return Card(
        key="errors",
        title=_("How far each is from the truth: {layer}").format(layer=chosen.layer),
        figure=errors_over_steps(
            errors,
            {
                "own": _("{label}: its own").format(label=run.labels[chosen.variant]),
                **{name: estimator_label(name, chosen.momentum) for name in ("ema", "average")},
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


def estimator_errors(run: RunView, chosen: Choice, found: Measured) -> pd.DataFrame:
    """Distance of the layer's own statistics and of two replays from the population.

    Columns step, estimator, mean_error (in standard deviations of each channel) and var_error
    (relative), both root mean squares over the channels of the chosen layer. A repeat is instant:
    a page that ticks does not replay the run again.
    """
    return _errors(run.id, chosen, found.step, found)


@st.cache_data(max_entries=128, show_spinner=False)
def _errors(run_id: str, chosen: Choice, measured_step: int, _found: Measured) -> pd.DataFrame:
    run, rows = view(run_id), []
    for step, population in _found.population.items():
        mean, var = population[chosen.layer]
        where = (run.config, run.history, chosen.variant, chosen.layer)
        estimates = {"own": own_statistics(run, chosen, step)}
        for name, momentum in (("ema", chosen.momentum), ("average", None)):
            _steps, means, variances = replay_layer(*where, momentum, stop=step)
            estimates[name] = (means[-1], variances[-1])
        for name, (estimated_mean, estimated_var) in estimates.items():
            rows.append(
                (
                    step,
                    name,
                    float(np.sqrt(np.mean((estimated_mean - mean) ** 2 / var))),
                    float(np.sqrt(np.mean((estimated_var / var - 1) ** 2))),
                )
            )
    return pd.DataFrame(rows, columns=["step", "estimator", "mean_error", "var_error"])


def own_statistics(
    run: RunView, chosen: Choice, step: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The layer's own running mean and variance after `step` (the last), of shape (C,) each."""
    table, where = run.history[steps_table(chosen.variant)], layer_slice(chosen.layer)
    row = len(table) if step is None else step
    mean, var = (
        table.column(name, start=row - 1, stop=row)[0, where]
        for name in ("running_mean", "running_var")
    )
    return mean, var


def ask(run: RunView, chosen: Choice) -> bool:
    """Say what the race needs; True when the reader asks for it."""
    count = len(run.source.checkpoints(chosen.variant))
    st.markdown(
        _(
            "**Which momentum is best, and why not simply average?** Running statistics never "
            "influence training, so each estimator can be tried in the very same weights. This "
            "takes the population's statistics at every checkpoint of {label} ({count} so far) and "
            "tests {tries} settings on the test images: some seconds, once a run."
        ).format(label=run.labels[chosen.variant], count=count, tries=len(MOMENTA) + 2)
    )
    return st.button(
        _("Measure"), type="primary", icon=":material/straighten:", key="measure",
        disabled=not count, help=_("The first checkpoint comes after 20 steps of a run."),
    )  # fmt: skip


def _ask_again(run: RunView, chosen: Choice, found: Measured) -> None:
    """Offer another measurement once the run has weights that are newer than the measured ones."""
    newest = run.source.checkpoints(chosen.variant)[-1]
    if newest > found.step and st.button(
        _("Measure again, at step {step:,}").format(step=newest),
        icon=":material/straighten:", key="measure_again",
        help=_("What is shown was measured at step {step:,}.").format(step=found.step),
    ):  # fmt: skip
        measure(run, chosen.variant)
        st.rerun()


def race(run: RunView, chosen: Choice) -> Measured | None:
    """What was measured of the chosen variant; until then a button, a progress bar or an error."""
    running = measurement(run, chosen.variant)
    if running is not None and running.found is not None:
        _ask_again(run, chosen, running.found)
        return running.found
    if running is not None and running.going_on:
        st.progress(
            max(running.done, 0) / running.parts,
            text=_("Measuring: {done} of {parts}").format(
                done=max(running.done, 0), parts=running.parts
            ),
        )
        return None
    if running is not None:
        st.error(
            _("The measurement ended early. {error} Try again.").format(error=running.error),
            icon=":material/error:",
        )
    if ask(run, chosen):
        measure(run, chosen.variant)
        st.rerun()
    return None
