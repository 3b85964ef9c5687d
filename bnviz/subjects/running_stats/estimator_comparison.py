"""Which running statistics are best: each estimator evaluated in the same weights."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch

from bnviz import data
from bnviz.data import Dataset
from bnviz.evaluation.inference import Statistics
from bnviz.evaluation.population import POPULATION_IMAGES, population_statistics
from bnviz.records.momentum_maps import COMPARED_MOMENTA
from bnviz.records.moving_averages import corrected
from bnviz.records.recorded_statistics import (
    eps_at,
    own_statistics,
    precise_batch,
    replay_layer,
    replayed_statistics,
    starting_statistics,
)
from bnviz.training.checkpoints import Run, accuracy_at, errors_against, model_at, replayable_step
from bnviz.training.steps import leave_one_core_free
from bnviz.training.tasks import Progress, no_progress


@dataclass(frozen=True)
class EstimatorComparison:
    """What a comparison found; statistics and accuracies by checkpoint."""

    population: dict[int, Statistics]
    """Checkpoint to layer to mean and variance at the weights of that step, layer by layer."""
    one_pass: dict[int, Statistics]
    """The same in one pass, where each layer normalizes by its batch."""
    images: int
    """On how many training images."""
    step: int
    """The checkpoint that the accuracies belong to."""
    accuracy: dict[float | str | None, float]
    """Accuracy, 0 to 1, by momentum, None for the plain mean of all batches; ``own`` of the layers'
    own statistics; and of the population's by how they were measured, ``layer_by_layer`` or
    ``one_pass``."""


def compare_estimators_over_run(
    run: Run, variant: str, progress: Progress = no_progress, *, dataset: Dataset | None = None
) -> EstimatorComparison:
    """Population statistics at each checkpoint, and accuracy at the newest with each estimator.

    The population is that of the first POPULATION_IMAGES training images, layer by layer and in
    one pass in batches of the run's size, as PreciseBN does (`bnviz.evaluation.population`). The
    estimators are those of COMPARED_MOMENTA, the plain mean and the layers' own.
    """
    leave_one_core_free()
    newest = replayable_step(run, variant)
    steps = [step for step in run.checkpoints(variant) if step <= newest]
    images_of = dataset or data.load(run.config.dataset)
    images = torch.tensor(images_of.train_images[:POPULATION_IMAGES])
    eps = eps_at(run.config, run.history, newest)
    found: dict[str, dict[int, Statistics]] = {"layer_by_layer": {}, "one_pass": {}}
    accuracy: dict[float | str | None, float] = {}
    batch = {"layer_by_layer": 1000, "one_pass": precise_batch(run.config.batch_size)}

    def population(step: int, how: str) -> None:
        found[how][step] = population_statistics(
            model_at(run, variant, step), images, batch_size=batch[how], how=how,
            on_progress=lambda: progress(done, len(parts)),
        )  # fmt: skip

    def evaluate(name: float | str | None) -> None:
        statistics = None
        if name in found:
            statistics = found[str(name)][newest]
        elif name != "own":
            statistics = replayed_statistics(run.config, run.history, variant, name, newest)  # type: ignore[arg-type]
        accuracy[name] = accuracy_at(run, variant, newest, statistics, images_of, eps)

    parts: list[Callable[[], None]] = [partial(population, s, how) for how in found for s in steps]
    parts += [partial(evaluate, name) for name in (*COMPARED_MOMENTA, None, "own", *found)]
    for done, part in enumerate(parts):
        progress(done, len(parts))
        part()
    return EstimatorComparison(
        found["layer_by_layer"], found["one_pass"], len(images), newest, accuracy
    )


def errors_over_checkpoints(
    run: Run, variant: str, layer: str, momentum: float, measured: EstimatorComparison
) -> pd.DataFrame:
    """Distance of the layer's statistics, by several estimators, from the population's.

    Columns step, estimator (``own``; ``ema`` at `momentum`; ``corrected``, the same
    bias-corrected; ``average`` of all batches; ``one_pass``, the population measured that way), mean_error
    (in standard deviations of each channel) and var_error (relative), both root mean squares over
    the channels of `layer` that vary at all.
    """
    rows = []
    for step, population in measured.population.items():
        estimates = _estimates(run, variant, layer, momentum, step)
        estimates["one_pass"] = measured.one_pass[step][layer]
        for name, estimated in estimates.items():
            found = errors_against({layer: estimated}, {layer: population[layer]})
            rows.append((step, name, found["mean_error"], found["var_error"]))
    frame = pd.DataFrame(rows, columns=["step", "estimator", "mean_error", "var_error"])
    return frame.astype({"mean_error": float, "var_error": float})


def _estimates(
    run: Run, variant: str, layer: str, momentum: float, step: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Mean and variance of a layer after `step` by each estimator that takes no images."""
    where = (run.config, run.history, variant, layer)
    found = {"own": own_statistics(run.history, variant, layer, step)}
    for name, weight in (("ema", momentum), ("average", None)):
        at, means, variances = replay_layer(*where, weight, stop=step)
        found[name] = (means[-1], variances[-1])
    starts = starting_statistics(run.config, variant)[:2]
    mean, var = (
        corrected(last[None], momentum, start, at[-1:])[0]
        for last, start in zip(found["ema"], starts, strict=True)
    )
    found["corrected"] = (mean, var)
    return found
