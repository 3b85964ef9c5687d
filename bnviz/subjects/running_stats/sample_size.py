"""How many images population statistics need: drawn again and again, compared with all of them."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from bnviz import data
from bnviz.data import Dataset
from bnviz.errors import check_least
from bnviz.evaluation.inference import Statistics, running_statistics
from bnviz.evaluation.population import HOW, evaluate_with_statistics, population_statistics
from bnviz.nn import LeNet
from bnviz.records.recorded_statistics import precise_batch
from bnviz.records.schema import LAYERS
from bnviz.training.checkpoints import (
    Run,
    errors_against,
    model_at,
    replayable_step,
    replayable_variant,
)
from bnviz.training.steps import leave_one_core_free
from bnviz.training.tasks import Progress, no_progress

SIZES = (10, 100, 1_000, 10_000)
DRAWS = 3
COLUMNS = ["how", "images", "draw", "accuracy", "mean_error", "var_error"]
CHUNK = 1_000  # images at once where the batch does not matter
# What an image costs: measured layer by layer (2 cores: 0.2 ms), and tested (0.05 ms).
PASSES, TEST = 4.0, 1.0


def images_needed(
    run: Run,
    variant: str,
    step: int | None = None,
    sizes: Sequence[int] = SIZES,
    draws: int = DRAWS,
    progress: Progress = no_progress,
    *,
    dataset: Dataset | None = None,
) -> pd.DataFrame:
    """Population statistics from a few training images, and what they cost, one row a draw.

    At the weights of the checkpoint at `step` (the last) the statistics are measured on `images`
    training images, each of `sizes` that the data set has, `draws` times (`drawn`): layer by layer
    and in one pass in batches of the run's size (`population_statistics`).

    Columns: `how`, `images`, `draw` (from 0), `accuracy` (eval mode, all test images, 0 to 1), and
    the distance to the statistics of all training images, measured layer by layer: `mean_error`
    and `var_error` of `errors_against`. Two rows more are the ends of the scale: ``all``, the truth
    itself with errors of 0, and ``own``, the running statistics that the run kept, with the images
    that it had seen by then.

    Raises ConfigError for a size below 2, RunError and ConfigError as `replayable_step`.
    """
    check_least("sizes", min(sizes, default=2), 2)
    leave_one_core_free()
    variant = replayable_variant(run.config, variant)
    step = replayable_step(run, variant, step)
    images_of = dataset or data.load(run.config.dataset)
    training = torch.tensor(images_of.train_images)
    test = (torch.tensor(images_of.test_images), torch.tensor(images_of.test_labels))
    model = model_at(run, variant, step)
    plan = _plan(sizes, draws, len(training), precise_batch(run.config.batch_size))
    parts = [(len(training), CHUNK), *((size, batch) for _how, size, _draw, batch in plan)]
    work = _Work(parts, len(test[0]), progress)
    work.next()
    truth = population_statistics(model, training, batch_size=CHUNK, on_progress=work.on_progress)

    def row(how: str, images: int, draw: int, statistics: Statistics) -> tuple[Any, ...]:
        accuracy = evaluate_with_statistics(model, statistics, *test).accuracy
        errors = errors_against(statistics, truth)
        return how, images, draw, accuracy, errors["mean_error"], errors["var_error"]

    rows = [row("all", len(training), 0, truth)]
    rows.append(row("own", step * run.config.batch_size, 0, running_statistics(model)))
    rows += [row(*found) for found in _measured(model, training, plan, work)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _measured(
    model: LeNet, training: torch.Tensor, plan: Sequence[tuple[str, int, int, int]], work: "_Work"
) -> Iterator[tuple[str, int, int, Statistics]]:
    """How, size and number of each draw of a `_plan`, with its statistics."""
    for how, size, draw, batch_size in plan:
        work.next()
        some = training[drawn(len(training), size, draw)]
        yield (
            how, size, draw,
            population_statistics(
                model, some, batch_size=batch_size, how=how, on_progress=work.on_progress
            ),
        )  # fmt: skip


def _plan(
    sizes: Sequence[int], draws: int, total: int, train_batch: int
) -> list[tuple[str, int, int, int]]:
    """How, size, number and batch size of each draw from `total` images."""
    batch_of = {"layer_by_layer": CHUNK, "one_pass": train_batch}
    able = [size for size in sizes if size <= total]
    return [(h, s, d, batch_of[h]) for s in able for d in range(draws) for h in HOW]


def drawn(total: int, size: int, draw: int) -> np.ndarray:
    """The places (size,) of the images of a draw: the next `size` of a permutation, in a round.

    The draws of a size share no image as long as there are enough, and never hold one twice; they
    are the same in each call.
    """
    order = np.random.default_rng(size).permutation(total)
    return np.take(order, np.arange(draw * size, (draw + 1) * size), mode="wrap")


class _Work:
    """Tells a `Progress` what share of the work is done, since a part may be a thousand others.

    `parts` are images and batch size of each population, `tested` the images of each evaluation.
    """

    def __init__(self, parts: Sequence[tuple[int, int]], tested: int, progress: Progress):
        costs = np.array([[PASSES * size, TEST * tested] for size, _batch in parts])
        self._costs = costs / costs.sum()
        self._batches = [len(LAYERS) * -(-size // batch) for size, batch in parts]
        self._progress, self._done, self._batches_done = progress, -1, 0

    def next(self) -> None:
        """The next part begins."""
        self._done, self._batches_done = self._done + 1, -1
        self.on_progress()

    def on_progress(self) -> None:
        """The present part is still at work: one more batch in one of its layers."""
        self._batches_done += 1
        measured = min(self._batches_done / self._batches[self._done], 1.0)
        share = self._costs[: self._done].sum() + measured * self._costs[self._done, 0]
        self._progress(self._done, len(self._costs), float(share))
