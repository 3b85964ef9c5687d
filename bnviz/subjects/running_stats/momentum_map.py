"""Momentum x batch size: which weight of the new batch suits which batch, trained for the purpose.

Running statistics never influence training, so one training a batch size gives the whole row of
momenta by replay. A map is kept with its run as ``maps/<variant>-<images>.json``, a row of batch
sizes at a time, and goes on from there when it was cancelled.
"""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bnviz import data
from bnviz.config import RunConfig
from bnviz.data import Dataset
from bnviz.errors import ConfigError, RunError
from bnviz.evaluation.inference import Statistics
from bnviz.evaluation.population import POPULATION_IMAGES
from bnviz.i18n import _
from bnviz.records.momentum_maps import BATCH_SIZES, COLUMNS, COMPARED_MOMENTA
from bnviz.records.recorded_statistics import replayed_statistics
from bnviz.records.schema import LAYERS, steps_table
from bnviz.training.tasks import Progress, no_progress

if TYPE_CHECKING:
    from bnviz.training.trainer import Trainer

IMAGES = (1_600, 6_400, 16_000, 60_000)
NEVER = 10_000_000
FEWEST_STEPS = 3  # what `noise_of_mean` takes to see the noise of a batch
STEPS_A_REPORT = 5
# A step costs about as much as so many images do in it (2 cores: 2.5 ms and 0.05 ms an image).
STEP_IN_IMAGES = 50
TEST_IN_IMAGES = 8_000


def momentum_map(
    config: RunConfig,
    variant: str,
    images: int,
    progress: Progress = no_progress,
    *,
    kept: pd.DataFrame | None = None,
    keep: Callable[[pd.DataFrame], None] = lambda frame: None,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    momenta: Sequence[float] = COMPARED_MOMENTA,
    dataset: Dataset | None = None,
) -> pd.DataFrame:
    """Accuracy and error of the running statistics for each batch size and momentum, a row each.

    `variant` is trained with the settings of `config`, only the batch size changed, on the same
    number of `images` each time (``images // batch_size`` steps; more than the data set has is
    another round of it). Then each momentum is replayed, and put into the weights of the end.

    Columns: `batch_size`, `momentum`, `accuracy` (eval mode, all test images, 0 to 1),
    `mean_error` (`errors_against` the population at these weights, that of the first
    POPULATION_IMAGES training images), `noise`, how much of it to expect from the chance of which
    images the batches held (`noise_of_mean`, same unit; one error may be smaller), and
    `train_images` of the data set.

    Batch sizes of `kept`, an earlier and unfinished map, are not trained again; `keep` is called
    with what there is after each. Raises ConfigError where a batch size would make fewer than
    FEWEST_STEPS steps, RunError where training diverges.
    """
    _check_images(images, max(batch_sizes))
    from bnviz.training.steps import leave_one_core_free

    leave_one_core_free()
    images_of = dataset or data.load(config.dataset)
    frame = _of_the_same_data(kept, len(images_of.train_labels))
    done = set(frame["batch_size"])
    work = _Work(images, batch_sizes, len(momenta), done, progress)
    for batch_size in (b for b in batch_sizes if b not in done):
        row = _row(at_batch_size(config, variant, batch_size, images), momenta, images_of, work)
        frame = pd.concat([frame, row]) if len(frame) else row
        frame = frame.sort_values(["batch_size", "momentum"], ignore_index=True)
        keep(frame)
    return frame


def _check_images(images: int, largest_batch: int) -> None:
    """Refuse so few images that the largest batch makes fewer than FEWEST_STEPS steps."""
    if images // largest_batch < FEWEST_STEPS:
        raise ConfigError(
            _("images: got {value}; allowed: {least:,} or more, {steps} steps of {batch}.").format(
                value=images, least=FEWEST_STEPS * largest_batch, steps=FEWEST_STEPS,
                batch=largest_batch,
            )
        )  # fmt: skip


def at_batch_size(config: RunConfig, variant: str, batch_size: int, images: int) -> RunConfig:
    """The run of `config` for one variant at another batch size, with nothing observed but steps."""
    changes = {
        "variants": (variant,),
        "batch_size": batch_size,
        "epochs": None,
        "steps": images // batch_size,
        **dict.fromkeys(("stages_every", "memory_every", "eval_every", "checkpoint_every"), NEVER),
    }
    return RunConfig.parse(**{**config.model_dump(), **changes})


def _of_the_same_data(kept: pd.DataFrame | None, train_images: int) -> pd.DataFrame:
    """What is kept and was measured on a data set of that size."""
    if kept is None:
        return pd.DataFrame(columns=COLUMNS)
    return kept[kept["train_images"] == train_images]


def _row(
    config: RunConfig, momenta: Sequence[float], dataset: Dataset, work: "_Work"
) -> pd.DataFrame:
    """Train at one batch size and try each momentum in the weights of the end."""
    from bnviz.training.trainer import Trainer

    with Trainer(config, dataset) as trainer:
        _train(trainer, work)
        tried = _tried(trainer, momenta, dataset, work)
    return pd.DataFrame(
        [(config.batch_size, *found, len(dataset.train_labels)) for found in tried], columns=COLUMNS
    )


def _train(trainer: "Trainer", work: "_Work") -> None:
    """Make all steps. Raises RunError where training diverges."""
    batch_size = trainer.config.batch_size
    while not trainer.done:
        if trainer.step_count % STEPS_A_REPORT == 0:
            work.trained(batch_size, trainer.step_count / trainer.total_steps)
        trainer.step()
    trainer.flush()
    (trained,) = trainer.runs.values()
    if trained.stopped is not None:
        raise RunError(
            _("At batch size {batch}: {reason}").format(batch=batch_size, reason=trained.stopped)
        )
    work.trained(batch_size, 1.0)


def _tried(
    trainer: "Trainer", momenta: Sequence[float], dataset: Dataset, work: "_Work"
) -> list[tuple[float, float, float | None, float]]:
    """Of each momentum in the trained weights: momentum, accuracy, mean_error, noise."""
    import torch

    from bnviz.evaluation.population import evaluate_with_statistics, population_statistics
    from bnviz.training.checkpoints import errors_against

    (trained,), steps = trainer.runs.values(), trainer.step_count
    arrays = (dataset.train_images[:POPULATION_IMAGES], dataset.test_images, dataset.test_labels)
    images, *test = (torch.tensor(array, device=trainer.device) for array in arrays)
    population = population_statistics(trained.model, images, on_progress=work.on_progress)
    table = trainer.history[steps_table(trained.variant)]
    batch_means = table.column("batch_mean", start=steps - noise_window(steps))
    where = (trainer.config, trainer.history, trained.variant)
    tried = []
    for momentum in momenta:
        work.next()
        replayed = replayed_statistics(*where, momentum, steps)
        accuracy = evaluate_with_statistics(trained.model, replayed, *test).accuracy
        error = errors_against(replayed, population)["mean_error"]
        noise = noise_of_mean(batch_means, population, momentum, steps)
        tried.append((momentum, accuracy, error, noise))
    work.next()
    return tried


def noise_window(steps: int) -> int:
    """Of so many steps the last ones say how noisy a batch is: a quarter, at least FEWEST_STEPS."""
    return max(steps // 4, FEWEST_STEPS)


def noise_of_mean(
    batch_means: np.ndarray, population: Statistics, momentum: float, steps: int
) -> float:
    """Standard error of the running mean by the chance of the batches, in σ of the channels.

    An average of independent batches with the weights m (1 - m)^k has the variance

        m / (2 - m) (1 - (1 - m)^(2 steps)) s²

    (the sum of the squared weights, `bnviz.records.moving_averages.noise` with its start), where s² is
    that of a single batch mean. It is measured on `batch_means` (rows, channels of all layers),
    the last rows of the run, freed from the slow movement of the weights: each value less the
    mean of its two neighbours, squared, times 2/3 (Gasser, Sroka & Jennen-Steinmetz 1986,
    Biometrika 73, https://doi.org/10.1093/biomet/73.3.625, for equal distances). A straight trend
    leaves no trace in it; what the weights jump from step to step does, and counts as noise.

    Returned is the root mean square over the channels of the standard error divided by the
    population's standard deviation; a channel that never varies is left out. NaN of nothing.
    """
    off = batch_means[1:-1] - (batch_means[:-2] + batch_means[2:]) / 2
    of_a_batch = 2 / 3 * np.mean(np.square(off, dtype=float), axis=0)
    var = np.concatenate([population[layer][1] for layer in LAYERS])
    varies = var > 0
    if not varies.any():
        return math.nan
    share = momentum / (2 - momentum) * (1 - (1 - momentum) ** (2 * steps))
    return float(np.sqrt(share * np.mean(of_a_batch[varies] / var[varies])))


class _Work:
    """Tells a `Progress` how far a map is: a training, a population and the momenta, row by row."""

    def __init__(
        self,
        images: int,
        batch_sizes: Sequence[int],
        momenta: int,
        finished: set[int],
        progress: Progress,
    ):
        self._progress, self._momenta = progress, momenta
        self._training = {b: images // b * (STEP_IN_IMAGES + b) for b in batch_sizes}
        self._tests = TEST_IN_IMAGES * (momenta + 4)
        self._all = sum(self._training.values()) + len(batch_sizes) * self._tests
        self._parts = len(batch_sizes) * (momenta + 2)
        self._done = len(finished) * (momenta + 2)
        self._spent = float(sum(self._training[b] + self._tests for b in finished))
        self._now = 0.0
        self.on_progress()

    def trained(self, batch_size: int, share: float) -> None:
        """Training at `batch_size` is done by that share (0 to 1)."""
        self._now = share * self._training[batch_size]
        if share == 1:
            self._done, self._spent, self._now = self._done + 1, self._spent + self._now, 0.0
        self.on_progress()

    def next(self) -> None:
        """The population, or the test of a momentum, is done."""
        self._done += 1
        self._spent += self._tests / (self._momenta + 1)
        self.on_progress()

    def on_progress(self) -> None:
        """The present part is still at work."""
        share = min((self._spent + self._now) / self._all, 1.0)
        self._progress(min(self._done, self._parts), self._parts, share)
