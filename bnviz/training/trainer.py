"""`Trainer`: all variants in lock-step, same initial weights, same batches in the same order."""

import time
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from bnviz.census.graph_census import detach_statistics
from bnviz.config import LIVE_SETTINGS, RunConfig
from bnviz.data import Dataset
from bnviz.errors import ConfigError
from bnviz.i18n import _
from bnviz.instrument.norm_capture import NormCapture
from bnviz.nn.state import snapshot
from bnviz.records.history import History
from bnviz.records.schema import schemas
from bnviz.records.summary import summarize
from bnviz.training.gradients import GradientSampler
from bnviz.training.observer import Observer, cadences
from bnviz.training.observers import OBSERVERS
from bnviz.training.steps import (
    Images,
    NoteTested,
    batches,
    build_model,
    build_optimizer,
    note_test,
    resolve_device,
    set_hyperparameter,
    train_step,
)

Kind = TypeVar("Kind", bound=Observer)


def check(config: RunConfig, dataset: Dataset) -> None:
    """Refuse what cannot run here, before anything is made.

    Raises ConfigError when the device is not there or a batch is larger than the data.
    """
    resolve_device(config.device)
    config.total_steps(len(dataset.train_labels))


class VariantRun:
    """One variant inside a Trainer: its model, its optimizer and who looks at it."""

    def __init__(self, config: RunConfig, variant: str, device: torch.device):
        self.variant = variant
        self.model = build_model(config, variant, device)
        self.optimizer = build_optimizer(config, self.model, device)
        self.observers: list[Observer] = []
        self.stopped: str | None = None
        """Why it steps no more."""
        self.tested: NoteTested | None = None
        """Its last test pass as the note makes it."""

    @cached_property
    def norms(self) -> NormCapture:
        """The statistics of its norm layers, captured from the first use on."""
        return NormCapture(self.model.norm_layers())

    def observer(self, kind: type[Kind]) -> Kind:
        """Its observer of that kind. Raises StopIteration where there is none."""
        return next(each for each in self.observers if isinstance(each, kind))

    def close(self) -> None:
        """Give the layers back and free what their statistics still hold."""
        if "norms" in vars(self):
            self.norms.close()
        detach_statistics(self.model)


class Trainer:
    """Steps every variant of `config` on `dataset` and lets the observers look.

    `observers` are kinds of them; with none it is the bare run: the same weights, nothing recorded.
    Use as a context manager or call `close`, which leaves the models as they were. Raises ConfigError
    when the device is not there or the batch is larger than the data.
    """

    def __init__(
        self,
        config: RunConfig,
        dataset: Dataset,
        *,
        history: History | None = None,
        observers: Iterable[type[Observer]] = OBSERVERS,
    ):
        self.config = config
        self.device = resolve_device(config.device)
        self.total_steps = config.total_steps(len(dataset.train_labels))
        self.step_count = 0
        self.settings: dict[str, float | None] = {k: getattr(config, k) for k in LIVE_SETTINGS}
        self.history = history or History(schemas(config.variants))
        self.seconds = 0.0
        """What all steps took, observing included."""
        self.images = Images(dataset, self.device)
        self.cadences = cadences(config)
        self.on_checkpoint: Callable[[int, str, dict[str, torch.Tensor]], None] | None = None
        self._batches = batches(self.images, config)
        self._dataset = dataset.source
        self.runs = {v: VariantRun(config, v, self.device) for v in config.variants}
        self.observers: list[Observer] = []
        for kind in observers:
            if kind.wanted(config):
                self._add(kind)

    def _add(self, kind: type[Observer]) -> None:
        """An observer of that kind for each variant, or one for the whole run."""
        if not kind.of_each_variant:
            self.observers.append(kind(self, cast(Any, None)))
            return
        for run in self.runs.values():
            run.observers.append(kind(self, run))
            self.observers.append(run.observers[-1])

    def __enter__(self) -> "Trainer":
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    @property
    def active(self) -> list[VariantRun]:
        """The variants that still train."""
        return [run for run in self.runs.values() if run.stopped is None]

    @property
    def done(self) -> bool:
        """Whether there is nothing left to step."""
        return self.step_count >= self.total_steps or not self.active

    @property
    def observing_share(self) -> float:
        """Share of the time that went into observing, 0 to 1 (evaluation included)."""
        return self._share_of(Observer)

    @property
    def gradients_share(self) -> float:
        """Share of the time that went into recording gradients, 0 to 1; a part of the above."""
        return self._share_of(GradientSampler)

    def _share_of(self, kind: type[Observer]) -> float:
        spent = sum(observer.seconds for observer in self.observers if isinstance(observer, kind))
        return spent / max(self.seconds, 1e-9)

    def set(self, **values: float | None) -> None:
        """Change `lr`, `momentum` or `eps` of all variants from the next step on.

        Recorded as an event each. Raises ConfigError for a value that the config would refuse.
        """
        for name, value in values.items():
            if name not in LIVE_SETTINGS:
                raise ConfigError(
                    _("{name}: cannot be changed in a run; allowed: {allowed}.").format(
                        name=name, allowed=", ".join(LIVE_SETTINGS)
                    )
                )
            RunConfig.parse(**{**self.config.model_dump(), name: value})
            if value == self.settings[name]:
                continue
            self.flush()  # what waits was made with the old value
            for run in self.active:
                set_hyperparameter(run.model, run.optimizer, {name: value})
            self.event("set", name=name, old=self.settings[name], new=value)
            self.settings[name] = value

    def event(self, kind: str, **details: Any) -> None:
        """Record what happened after the present step."""
        self.history.events.append({"step": self.step_count, "kind": kind, **details})

    def step(self) -> None:
        """One optimizer step of every active variant on the same batch.

        The variant `note` makes its own test pass where one is due.
        """
        began = time.perf_counter()
        inputs, labels = next(self._batches)
        self.step_count += 1
        for cadence in self.cadences.values():
            cadence.decide(self.step_count, self.seconds)
        for run in self.active:
            self._update(run, inputs, labels)
        self._each(self.observers, lambda observer: observer.after_step(self.step_count))
        note = self.runs.get("note")
        if note and note.stopped is None and self.step_count % self.config.eval_every == 0:
            self.test(note)
        self.seconds += time.perf_counter() - began

    def _update(self, run: VariantRun, inputs: Tensor, labels: Tensor) -> None:
        """The step of one variant, with its observers around it."""
        step = self.step_count
        self._each(reversed(run.observers), lambda observer: observer.before_update(step))
        try:
            loss = train_step(run.model, run.optimizer, inputs, labels)
        except BaseException:
            for observer in run.observers:
                observer.failed()
            raise
        self._each(run.observers, lambda observer: observer.after_update(step, loss))

    @staticmethod
    def _each(observers: Iterable[Observer], call: Callable[[Observer], None]) -> None:
        """Call those whose cadence says so, of variants that still train, and take their time."""
        for observer in observers:
            if observer.cadence.now and (observer.run is None or observer.run.stopped is None):
                began = time.perf_counter()
                call(observer)
                observer.spend(time.perf_counter() - began)

    def flush(self) -> None:
        """Bring all recorded steps into the history; a variant with a loss of NaN or inf stops."""
        for observer in self.observers:
            observer.flush()

    def stop(self, run: VariantRun, reason: str) -> None:
        """Let a variant step no more, unless it has stopped already."""
        if run.stopped is None:
            run.stopped = reason
            self.event("variant_stopped", variant=run.variant, reason=reason)
            detach_statistics(run.model)

    def test(self, run: VariantRun) -> NoteTested:
        """The note's own test pass over the config's `eval_images`; part of the run, no observer.

        It ends early where an observer stops the variant.
        """

        def go_on() -> bool:
            for observer in run.observers:
                observer.after_test_batch()
            return run.stopped is None

        count = self.config.eval_images
        run.tested = note_test(
            run.model,
            self.images.test[:count],
            self.images.test_labels[:count],
            batch_size=self.config.batch_size,
            quirks=self.config.quirks,
            go_on=go_on,
        )
        for observer in run.observers:
            observer.after_test(self.step_count, run.tested)
        return run.tested

    def checkpoint(self) -> None:
        """Hand the state of each active variant to `on_checkpoint`, its steps recorded before."""
        if self.on_checkpoint is not None:
            self.flush()
            for run in self.active:
                self.on_checkpoint(self.step_count, run.variant, snapshot(run.model))

    def finish(self) -> None:
        """Write what still waits, and let the observers look for the last time."""
        self.flush()
        for observer in self.observers:
            if self.step_count and (observer.run is None or observer.run.stopped is None):
                observer.finish()

    def summary(self, seconds: float) -> dict[str, Any]:
        """What the run came to so far, as plain JSON values: the document of ``bnviz run --json``."""
        return summarize(
            config=self.config,
            history=self.history,
            device=str(self.device),
            dataset=self._dataset,
            seconds=seconds,
            stopped={name: run.stopped for name, run in self.runs.items()},
            gradients_share=self.gradients_share if self.config.gradients else None,
        )

    def close(self) -> None:
        """Let the observers go and free what the statistics of the models still hold."""
        for observer in self.observers:
            observer.close()
        for run in self.runs.values():
            run.close()
