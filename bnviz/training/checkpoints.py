"""One run, many estimators: what its eval mode would have been at other momenta.

The batches of a run are recorded, so running statistics at any momentum can be put into the
weights of a checkpoint and evaluated, without training again.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch

from bnviz import data
from bnviz.config import EARLY_EVALUATIONS, RunConfig
from bnviz.data import Dataset
from bnviz.errors import ConfigError, RunError, check_least
from bnviz.evaluation.inference import Statistics
from bnviz.evaluation.population import evaluate_with_statistics, population_statistics
from bnviz.i18n import _
from bnviz.nn import LeNet
from bnviz.nn.state import restore
from bnviz.nn.variants import VARIANTS
from bnviz.records.history import History
from bnviz.records.reading import latest_step
from bnviz.records.recorded_statistics import eps_at, replayed_statistics
from bnviz.training.steps import build_model

POPULATION = "population"
Estimator = float | str | None


class Run(Protocol):
    """What is asked of a run: a `StoredRun` and a `Job` both have it."""

    @property
    def config(self) -> RunConfig:
        """Its settings."""

    @property
    def history(self) -> History:
        """Its tables."""

    def checkpoints(self, variant: str) -> list[int]:
        """Steps at which weights of `variant` were stored, ascending."""

    def checkpoint(self, step: int, variant: str) -> Mapping[str, np.ndarray]:
        """The tensors of a checkpoint. Raises RunError when it is gone."""


def parse_estimators(text: str) -> list[Estimator]:
    """The comma-separated momenta of `text`: numbers from 0 to 1, ``none`` and ``population``.

    Raises ConfigError naming the first word that is none of these.
    """
    return [_parse(word.strip()) for word in text.split(",")]


def _parse(word: str) -> Estimator:
    if word == "none":
        return None
    try:
        estimator: Estimator = float(word)
    except ValueError:
        estimator = word
    _check(estimator)
    return estimator


def _check(estimator: Estimator) -> None:
    """Refuse what is no estimator."""
    number = isinstance(estimator, int | float) and 0 <= estimator <= 1
    if not (number or estimator is None or estimator == POPULATION):
        raise ConfigError(
            _(
                "momentum: got {value!r}; allowed: numbers from 0 to 1, none (cumulative average) "
                "and population."
            ).format(value=estimator)
        )


def replayable_variant(config: RunConfig, variant: str | None = None) -> str:
    """`variant`, or the last of the run that has running statistics.

    Raises ConfigError for one that is not in the run or has none.
    """
    able = [name for name in config.variants if VARIANTS[name].normalizes]
    if variant is None and able:
        return able[-1]
    if variant not in able:
        said = (
            _("variant: got {value!r}; allowed: {allowed}.")
            if able
            else _(
                "variant: got {value!r}; allowed: none in this run, which has no running "
                "statistics; choose another run."
            )
        )
        raise ConfigError(said.format(value=variant, allowed=", ".join(able)))
    return variant


def replayable_step(run: Run, variant: str, step: int | None = None) -> int:
    """`step`, or the newest one with weights of `variant` that the record of the run covers.

    A run that was cut off may have weights that are newer than the last step of its record.

    Raises RunError for a run without such a checkpoint and for a `step` after the end of the
    record, and ConfigError for a step without a checkpoint.
    """
    stored = run.checkpoints(variant)
    if not stored:
        raise RunError(
            _(
                "No weights of {variant} are stored in this run, so it cannot be evaluated. "
                "Choose another run, or make one that reaches step {first}."
            ).format(first=EARLY_EVALUATIONS[0], variant=variant)
        )
    if step is not None and step not in stored:
        raise ConfigError(
            _("step: got {value}; allowed: a step with stored weights, {allowed}.").format(
                value=step, allowed=", ".join(map(str, stored))
            )
        )
    recorded = latest_step(run.history, variant)
    covered = [at for at in stored if at <= recorded]
    if covered and (step is None or step in covered):
        return covered[-1] if step is None else step
    raise _record_too_short(variant, recorded, stored[-1] if step is None else step, covered)


def _record_too_short(variant: str, recorded: int, step: int, covered: list[int]) -> RunError:
    fields = {"variant": variant, "recorded": recorded, "step": step}
    if not covered:
        return RunError(
            _(
                "The record of {variant} ends at step {recorded}, before the weights of step {step}: "
                "the run was cut off or its files were. Choose another run."
            ).format(**fields)
        )
    return RunError(
        _(
            "The record of {variant} ends at step {recorded}, before the weights of step {step}: "
            "the run was cut off or its files were. Choose step {covered}."
        ).format(**fields, covered=covered[-1])
    )


def compare_estimators(
    run: Run,
    variant: str,
    momenta: Sequence[Estimator],
    *,
    step: int | None = None,
    images: int | None = None,
    dataset: Dataset | None = None,
) -> list[dict[str, Any]]:
    """What each estimator of the running statistics would come to in eval mode.

    `momenta` are weights of the new batch from 0 to 1, None for the cumulative average, or
    ``"population"`` for the statistics of all training images at the frozen weights
    (`population_statistics`). Each is put into the weights of the checkpoint at `step` (`replayable_step`)
    and evaluated on the first `images` test images (all) of `dataset` (the run's), on the CPU.

    One dict each: `momentum` as given, with ``"none"`` for None; `accuracy` from 0 to 1; and what
    `errors_against` says of the statistics and the population.

    The test passes of the variant `note` move its own statistics too, but they are not in the
    record, so a replay is what its statistics would have been without them. Its variance is
    averaged as it averages it, biased by its quirk, and that counts as an error here.

    Raises ConfigError for a momentum outside 0 to 1, a variant without statistics or a step
    without a checkpoint, RunError for a run without one or with a damaged or shorter record.
    """
    check_least("images", 1 if images is None else images, 1)
    for momentum in momenta:
        _check(momentum)
    variant = replayable_variant(run.config, variant)
    step = replayable_step(run, variant, step)
    images_of = dataset or data.load(run.config.dataset)
    test = torch.tensor(images_of.test_images[:images])
    labels = torch.tensor(images_of.test_labels[:images])
    model = model_at(run, variant, step)
    population = population_statistics(model, torch.tensor(images_of.train_images))
    result = []
    for momentum in momenta:
        statistics: Statistics = population
        if not isinstance(momentum, str):
            statistics = replayed_statistics(run.config, run.history, variant, momentum, step)
        evaluation = evaluate_with_statistics(model, statistics, test, labels)
        result.append(
            {
                "momentum": "none" if momentum is None else momentum,
                "accuracy": round(evaluation.accuracy, 6),
                **errors_against(statistics, population),
            }
        )
    return result


def model_at(run: Run, variant: str, step: int) -> LeNet:
    """A model of its own on the CPU with the weights of a checkpoint and the eps of that step.

    Raises RunError when there is no such checkpoint or it does not fit.
    """
    model = build_model(run.config, variant, torch.device("cpu"))
    state = {name: torch.tensor(v) for name, v in run.checkpoint(step, variant).items()}
    try:
        restore(model, state)
    except (KeyError, RuntimeError) as error:
        raise RunError(
            _(
                "The checkpoint of {variant} at step {step} does not fit its network ({error}). "
                "Choose another step."
            ).format(variant=variant, step=step, error=error)
        ) from error
    for layer in model.norm_layers().values():
        layer.eps = eps_at(run.config, run.history, step)  # type: ignore[assignment]
    return model


def errors_against(statistics: Statistics, population: Statistics) -> dict[str, Any]:
    """How far statistics are from the population's: `mean_error`, `var_error`, and `layers` with both.

    Root mean squares over all channels of all layers of the difference to the population value, for
    the mean in units of the channel's population standard deviation, for the variance relative to
    the population variance. A channel that never varies has no such units and is left out; without
    any other the error is None.
    """
    differences = {}
    for name, (true_mean, true_var) in population.items():
        varies = true_var > 0
        mean, var = (values[varies] for values in statistics[name])
        true_mean, true_var = true_mean[varies], true_var[varies]
        differences[name] = (
            (mean - true_mean) / np.sqrt(true_var),
            (var - true_var) / true_var,
        )
    overall = [np.concatenate(parts) for parts in zip(*differences.values(), strict=True)]
    return {**_rms(*overall), "layers": {name: _rms(*two) for name, two in differences.items()}}


def _rms(mean: np.ndarray, var: np.ndarray) -> dict[str, float | None]:
    """Root mean squares, None of nothing."""
    return {
        name: float(np.sqrt(np.mean(values**2))) if len(values) else None
        for name, values in (("mean_error", mean), ("var_error", var))
    }


def accuracy_with(
    run: Run, variant: str, step: int, momentum: float | None, *, eps: float | None = None
) -> float:
    """Accuracy in eval mode at a checkpoint with the statistics of a momentum."""
    statistics = replayed_statistics(run.config, run.history, variant, momentum, step)
    return accuracy_at(run, variant, step, statistics, data.load(run.config.dataset), eps)


def accuracy_at(
    run: Run,
    variant: str,
    step: int,
    statistics: Statistics | None,
    images: Dataset,
    eps: float | None,
) -> float:
    """Accuracy on all test images with the given statistics, or the checkpoint's own for None."""
    return evaluate_with_statistics(
        model_at(run, variant, step),
        statistics,
        torch.tensor(images.test_images),
        torch.tensor(images.test_labels),
        eps=eps,
    ).accuracy
