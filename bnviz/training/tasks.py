"""What takes long and is asked for once: measured in a thread, shared by all who look.

A `Measurement` is one piece of work, `Measurements` those of a process. The work itself is any
function of one argument, a `Progress`; `measure_race` is the first of them.
"""

import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from bnviz import data
from bnviz.analysis.estimators import corrected
from bnviz.data import Dataset
from bnviz.errors import BnvizError
from bnviz.train.recorded_statistics import (
    eps_at,
    own_statistics,
    replay_layer,
    replayed_statistics,
    starting_statistics,
)

if TYPE_CHECKING:
    from bnviz.train.replays import Run

MOMENTA = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.5, 0.9, 1.0)
POPULATION_IMAGES = 10_000
ENDS_WITHIN_S = 20.0
Statistics = Mapping[str, tuple[np.ndarray, np.ndarray]]


class Progress(Protocol):
    """What a measurement calls before each of its parts."""

    def __call__(self, done: int, parts: int, share: float | None = None) -> None:
        """`done` of `parts` are done, which is `share` of the work (0 to 1; done / parts).

        Raises when nobody wants the rest any more.
        """


def unheard(done: int, parts: int, share: float | None = None) -> None:
    """A `Progress` that nobody listens to."""


class Unwanted(Exception):
    """Raised by `Progress` in a measurement that was cancelled; no fault of anything."""


class Measurement:
    """One piece of work in a thread, because a page that ticks would cut it short.

    With `turn` it waits until no other measurement of the same turn is at work. Until it has found
    anything, `found` is what an `earlier` one did.
    """

    def __init__(
        self,
        work: Callable[[Progress], Any],
        turn: threading.Semaphore | None = None,
        earlier: Any = None,
    ):
        self.found: Any = earlier
        """What the work returned."""
        self.error: str | None = None
        """Why it failed, in one line for the page."""
        self.waiting = True
        self._ended = self._unwanted = False
        self.done, self.parts, self.share = 0, 0, 0.0
        self._first: tuple[float, float] | None = None
        self._last = 0.0
        self._thread = threading.Thread(
            target=self._main, args=(work, turn or threading.Semaphore()), name="bnviz-measure", daemon=True
        )  # fmt: skip
        self._thread.start()

    @property
    def going_on(self) -> bool:
        """Whether more is to come: it has not ended, and nobody has cancelled it."""
        return not (self._ended or self._unwanted)

    @property
    def seconds_left(self) -> float | None:
        """Estimated time to the end, or None while it is not known."""
        if self._first is None or self.share <= self._first[1]:
            return None
        began, before = self._first
        left = (self._last - began) * (1 - self.share) / (self.share - before)
        return max(left - (time.monotonic() - self._last), 0.0)

    def cancel(self) -> None:
        """Want no more of it: it ends before its next part."""
        self._unwanted = True

    def end(self) -> None:
        """Cancel and wait for the end: no thread may outlive torch."""
        self.cancel()
        self._thread.join(timeout=ENDS_WITHIN_S)

    def _main(self, work: Callable[[Progress], Any], turn: threading.Semaphore) -> None:
        try:
            while not turn.acquire(timeout=0.1):
                self._check()
            try:
                self._check()
                self.waiting = False
                self.found = work(self._progress)
            finally:
                turn.release()
        except Unwanted:
            pass
        except BnvizError as error:
            self.error = str(error)
        except Exception as error:  # the page must hear of anything that ends the thread
            traceback.print_exc()
            self.error = f"{type(error).__name__}: {error}"
        finally:
            self._ended = True

    def _check(self) -> None:
        if self._unwanted:
            raise Unwanted

    def _progress(self, done: int, parts: int, share: float | None = None) -> None:
        self._check()
        share = done / max(parts, 1) if share is None else share
        if self._first is None or share > self.share:
            self._last = time.monotonic()
        self.done, self.parts, self.share = done, parts, share
        self._first = self._first or (self._last, share)


class Measurements:
    """The measurements of a process by run, kind, variant and options; one is at work at a time.

    They share the cores with the page and with training, so two at once would only take longer.
    """

    def __init__(self) -> None:
        self._lock, self._turn = threading.Lock(), threading.Semaphore()
        self._all: dict[tuple[str, ...], Measurement] = {}

    def get(self, *key: str) -> Measurement | None:
        """The measurement of that key, or None before it was asked for."""
        return self._all.get(key)

    def keys(self, *prefix: str) -> list[tuple[str, ...]]:
        """The keys that begin so of all that was asked for, oldest first."""
        return [key for key in list(self._all) if key[: len(prefix)] == prefix]

    def begin(self, *key: str, work: Callable[[Progress], Any]) -> Measurement:
        """Measure, or measure anew; one that is going on is left to its end and returned.

        What was found before stays until there is something newer.
        """
        with self._lock:
            known = self._all.get(key)
            if known is None or not known.going_on:
                self._all[key] = known = Measurement(work, self._turn, known and known.found)
            return known

    def cancel(self, *key: str) -> None:
        """Want no more of the measurement of that key; what was found before stays."""
        known = self._all.get(key)
        if known is not None:
            known.cancel()

    def end_all(self) -> None:
        """Cancel all and wait, when the server ends."""
        with self._lock:
            known = list(self._all.values())
        for each in known:
            each.cancel()
        for each in known:
            each.end()


# ---- the race ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """What a race found; statistics and accuracies by checkpoint."""

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


def measure_race(
    run: "Run", variant: str, progress: Progress = unheard, *, dataset: Dataset | None = None
) -> Measured:
    """Population statistics at each checkpoint, and accuracy at the newest with each estimator.

    The population is that of the first POPULATION_IMAGES training images, layer by layer and in
    one pass in batches of the run's size, as PreciseBN does (`bnviz.analysis.population`). The
    estimators are those of MOMENTA, the plain mean and the layers' own.
    """
    import torch

    from bnviz.analysis.population import population_statistics
    from bnviz.train.replays import model_at, replayable_step
    from bnviz.train.steps import leave_one_core_free

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
            heed=lambda: progress(done, len(parts)),
        )  # fmt: skip

    def race(name: float | str | None) -> None:
        statistics = None
        if name in found:
            statistics = found[str(name)][newest]
        elif name != "own":
            statistics = replayed_statistics(run.config, run.history, variant, name, newest)  # type: ignore[arg-type]
        accuracy[name] = _accuracy(run, variant, newest, statistics, images_of, eps)

    parts: list[Callable[[], None]] = [partial(population, s, how) for how in found for s in steps]
    parts += [partial(race, name) for name in (*MOMENTA, None, "own", *found)]
    for done, part in enumerate(parts):
        progress(done, len(parts))
        part()
    return Measured(found["layer_by_layer"], found["one_pass"], len(images), newest, accuracy)


def precise_batch(batch_size: int) -> int:
    """The batch of a pass in train mode: the run's, where that is not 1 (nothing to normalize by)."""
    return max(batch_size, 2)


def accuracy_with(
    run: "Run", variant: str, step: int, momentum: float | None, *, eps: float | None = None
) -> float:
    """Accuracy in eval mode at a checkpoint with the statistics of a momentum."""
    statistics = replayed_statistics(run.config, run.history, variant, momentum, step)
    return _accuracy(run, variant, step, statistics, data.load(run.config.dataset), eps)


def _accuracy(
    run: "Run",
    variant: str,
    step: int,
    statistics: Statistics | None,
    images: Dataset,
    eps: float | None,
) -> float:
    """Accuracy on all test images with the given statistics, or the checkpoint's own for None."""
    import torch

    from bnviz.analysis.population import evaluate_with_statistics
    from bnviz.train.replays import model_at

    return evaluate_with_statistics(
        model_at(run, variant, step),
        statistics,
        torch.tensor(images.test_images),
        torch.tensor(images.test_labels),
        eps=eps,
    ).accuracy


def errors_over_checkpoints(
    run: "Run", variant: str, layer: str, momentum: float, measured: Measured
) -> pd.DataFrame:
    """Distance of the layer's statistics, by several estimators, from the population's.

    Columns step, estimator (``own``; ``ema`` at `momentum`; ``corrected``, the same freed from its
    start; ``average`` of all batches; ``one_pass``, the population measured that way), mean_error
    (in standard deviations of each channel) and var_error (relative), both root mean squares over
    the channels of `layer` that vary at all.
    """
    from bnviz.train.replays import errors_against

    starts = starting_statistics(run.config, variant)[:2]
    rows = []
    for step, population in measured.population.items():
        estimates = {
            "own": own_statistics(run.history, variant, layer, step),
            "one_pass": measured.one_pass[step][layer],
        }
        for name, weight in (("ema", momentum), ("average", None)):
            at, means, variances = replay_layer(
                run.config, run.history, variant, layer, weight, stop=step
            )
            estimates[name] = (means[-1], variances[-1])
        mean, var = (
            corrected(last[None], momentum, start, at[-1:])[0]
            for last, start in zip(estimates["ema"], starts, strict=True)
        )
        estimates["corrected"] = (mean, var)
        for name, estimated in estimates.items():
            found = errors_against({layer: estimated}, {layer: population[layer]})
            rows.append((step, name, found["mean_error"], found["var_error"]))
    frame = pd.DataFrame(rows, columns=["step", "estimator", "mean_error", "var_error"])
    return frame.astype({"mean_error": float, "var_error": float})
