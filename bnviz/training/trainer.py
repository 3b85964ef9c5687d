"""`Trainer`: all variants in lock-step, same initial weights, same batches in the same order."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

import numpy as np
import torch

from bnviz.census.graph_census import release
from bnviz.config import RunConfig
from bnviz.data import Dataset
from bnviz.errors import ConfigError
from bnviz.i18n import _
from bnviz.instrument.norm_capture import NormCapture
from bnviz.nn.state import snapshot
from bnviz.nn.variants import VARIANTS
from bnviz.records.history import History
from bnviz.records.schema import gradients_table, memory_table, schemas, stages_table, steps_table
from bnviz.records.summary import summarize
from bnviz.training.gradients import GradientSampler
from bnviz.training.observers import (
    Cadence,
    Evaluator,
    MemoryObserver,
    ProcessObserver,
    StageSampler,
    StepRecorder,
    set_hyperparameter,
)
from bnviz.training.steps import (
    Images,
    StepTimer,
    batches,
    build_model,
    build_optimizer,
    check_layers,
    note_test,
    resolve_device,
    train_step,
)
from bnviz.units import MIB

LIVE_SETTINGS = ("lr", "momentum", "eps")
# A first point on the curve soon after the start, from fewer images.
EARLY_EVALUATIONS = (20, 100)
EARLY_IMAGES = 200
# How the budget of observing is shared out; the rest is for the record of each step.
SHARES = {"stages": 0.3, "memory": 0.2, "evaluate": 0.4}
# Gradients are asked for and come with the stages, so they have a share on top of the budget.
GRADIENTS_SHARE = 0.6


def check(config: RunConfig, dataset: Dataset) -> None:
    """Refuse what cannot run here, before anything is made.

    Raises ConfigError when the device is not there or a batch is larger than the data.
    """
    resolve_device(config.device)
    config.total_steps(len(dataset.train_labels))


class VariantRun:
    """One variant inside a Trainer: model, optimizer and its observers."""

    def __init__(
        self, config: RunConfig, variant: str, device: torch.device, history: History | None
    ):
        self.variant = variant
        self.model = build_model(config, variant, device)
        check_layers(self.model)
        self.optimizer = build_optimizer(config, self.model, device)
        self.stopped: str | None = None
        self.memory: MemoryObserver | None = None
        self.gradients: GradientSampler | None = None
        if history is None:
            return
        self.timer = StepTimer(device)
        self.norms = NormCapture(self.model.norm_layers())
        dtype = getattr(torch, config.dtype)
        self.recorder = StepRecorder(self.norms, history[steps_table(variant)], device, dtype)
        self.stages = StageSampler(self.norms, history[stages_table(variant)])
        self.memory = MemoryObserver(self.model, history[memory_table(variant)])
        if config.gradients:
            table = history[gradients_table(variant)]
            self.gradients = GradientSampler(self.model, table)
        self.evaluator = Evaluator(
            build_model(config, variant, device),
            history["evaluations"],
            config.variants.index(variant),
            config.batch_size,
        )


class Trainer:
    """Steps every variant of `config` on `dataset` and lets the observers look.

    ``observe=False`` is the bare run: the same weights, nothing recorded. Use as a context manager
    or call `close`, which leaves the models as they were. Raises ConfigError when the device is
    not there or the batch is larger than the data.
    """

    def __init__(
        self,
        config: RunConfig,
        dataset: Dataset,
        *,
        history: History | None = None,
        observe: bool = True,
    ):
        self.config = config
        self.device = resolve_device(config.device)
        self.total_steps = config.total_steps(len(dataset.train_labels))
        self.step_count = 0
        self.settings: dict[str, float | None] = {k: getattr(config, k) for k in LIVE_SETTINGS}
        self.history = (history or History(schemas(config.variants))) if observe else History({})
        self.observing_s = self.gradients_s = self.training_s = 0.0
        self._images = Images(dataset, self.device)
        self._batches = batches(self._images, config)
        self._observe = observe
        self._dataset = {
            "name": dataset.name,
            "origin": dataset.origin,
            "train": len(dataset.train_labels),
            "test": len(dataset.test_labels),
        }
        self._resources = ExitStack()
        self.runs = {
            v: VariantRun(config, v, self.device, self.history if observe else None)
            for v in config.variants
        }
        budget = {name: share * config.observe_budget for name, share in SHARES.items()}
        if config.gradients:
            budget["stages"] += GRADIENTS_SHARE * config.observe_budget
        self._stages = Cadence(config.stages_every, budget["stages"], early=(1,))
        self._memory = Cadence(config.memory_every, budget["memory"], early=(1,))
        self._evaluate = Cadence(config.eval_every, budget["evaluate"], EARLY_EVALUATIONS)
        self._checkpoint = Cadence(config.checkpoint_every, 1.0, EARLY_EVALUATIONS)
        if observe:
            self._process = ProcessObserver(self.device, self.history["process"])
            for run in self.runs.values():
                self._resources.enter_context(run.norms)
        self.on_checkpoint: Callable[[int, str, dict[str, torch.Tensor]], None] | None = None

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
        return self.observing_s / max(self._seconds, 1e-9)

    @property
    def gradients_share(self) -> float:
        """Share of the time that went into recording gradients, 0 to 1; a part of the above."""
        return self.gradients_s / max(self._seconds, 1e-9)

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
            self._event("set", name=name, old=self.settings[name], new=value)
            self.settings[name] = value

    def _event(self, kind: str, **details: Any) -> None:
        self.history.events.append({"step": self.step_count, "kind": kind, **details})

    def step(self) -> None:
        """One optimizer step of every active variant on the same batch."""
        began, observed = time.perf_counter(), self.observing_s
        inputs, labels = next(self._batches)
        self.step_count += 1
        step = self.step_count
        sample = self._observe and self._stages.due(step)
        for run in self.active:
            if not self._observe:
                train_step(run.model, run.optimizer, inputs, labels)
                continue
            run.norms.tensors = sample
            with self._watching(run, sample):
                run.timer.start()
                loss = train_step(run.model, run.optimizer, inputs, labels)
                run.timer.stop()
            self._record(run, step, loss, sample)
        if self._observe:
            self._look(step)
        self._note_tests(step)
        self.training_s += time.perf_counter() - began - (self.observing_s - observed)

    def _record(self, run: VariantRun, step: int, loss: torch.Tensor, sample: bool) -> None:
        """What is observed of one variant right after its step."""
        began = time.perf_counter()
        run.recorder.record(step, loss)
        if sample:
            run.stages.observe(step)
            began -= self._record_gradients(run, step)
            self._stages.spent(step, time.perf_counter() - began, self._seconds)
        self.observing_s += time.perf_counter() - began

    @staticmethod
    def _watching(run: VariantRun, sample: bool) -> AbstractContextManager[None]:
        """What goes around the training step of a variant whose gradients are to be recorded."""
        return run.gradients.watching() if sample and run.gradients is not None else nullcontext()

    def _record_gradients(self, run: VariantRun, step: int) -> float:
        """Write the gradients of the step; returns the seconds that watching added to it."""
        if run.gradients is None:
            return 0.0
        began = time.perf_counter()
        run.gradients.observe(step)
        inside = run.gradients.seconds_inside
        self.gradients_s += inside + time.perf_counter() - began
        return inside

    @property
    def _seconds(self) -> float:
        return self.observing_s + self.training_s

    def _look(self, step: int) -> None:
        """What is observed after all variants have stepped."""
        began = time.perf_counter()
        for cadence in (self._stages, self._memory, self._evaluate):
            cadence.clock(self._seconds)
        if any(run.recorder.full for run in self.active):
            self.flush()
        if self._memory.due(step):
            looking = time.perf_counter()
            self._process.observe(step)
            for run in self.active:
                self._count_memory(run)
            self._memory.spent(step, time.perf_counter() - looking, self._seconds)
        if self._evaluate.due(step):
            looking = time.perf_counter()
            early = step in EARLY_EVALUATIONS
            self.evaluate(EARLY_IMAGES if early else self.config.eval_images)
            self._evaluate.spent(step, time.perf_counter() - looking, self._seconds)
        if self.on_checkpoint is not None and self._checkpoint.due(step):
            self.checkpoint()
        self.observing_s += time.perf_counter() - began

    def flush(self) -> None:
        """Bring all recorded steps into the history; a variant with a loss of NaN or inf stops."""
        for run in self.runs.values():
            if not self._observe:
                return
            losses = run.recorder.flush(run.timer.read())
            if run.stopped is None and not np.isfinite(losses).all():
                self._stop_variant(
                    run,
                    _(
                        "The loss became {value} near step {step}: training has diverged. "
                        "Lower lr (now {lr:g})."
                    ).format(
                        value=losses[~np.isfinite(losses)][0],
                        step=self.step_count,
                        lr=self.settings["lr"],
                    ),
                )

    def _count_memory(self, run: VariantRun) -> bool:
        """Count what `run` keeps; past the limit, stop it. Returns whether it may go on."""
        assert run.memory is not None
        run.memory.observe(self.step_count)
        kept, limit = run.memory.census.bytes, self.config.memory_limit_mib * MIB
        if kept <= limit:
            return True
        self._stop_variant(
            run,
            _(
                "{variant} keeps {kept:,.1f} MiB of tensors alive at step {step}, more than the "
                "limit of {limit:,} MiB: its running statistics hold the graph of every batch that "
                "was tested with gradients on. Detach them, or test in eval mode or with no_grad."
            ).format(
                variant=_(VARIANTS[run.variant].label),
                kept=kept / MIB,
                step=self.step_count,
                limit=self.config.memory_limit_mib,
            ),
        )
        return False

    def _stop_variant(self, run: VariantRun, reason: str) -> None:
        run.stopped = reason
        self._event("variant_stopped", variant=run.variant, reason=reason)
        release(run.model)

    def _note_tests(self, step: int) -> None:
        """The note's own test pass for the variant `note`; part of the run, not an observer."""
        run = self.runs.get("note")
        if run is None or run.stopped or step % self.config.eval_every:
            return
        tested = 0

        def go_on() -> bool:
            nonlocal tested
            tested += 1
            return run.memory is None or self._count_memory(run)

        images = self._images.test[: self.config.eval_images]
        labels = self._images.test_labels[: self.config.eval_images]
        found = note_test(
            run.model,
            images,
            labels,
            batch_size=self.config.batch_size,
            quirks=self.config.quirks,
            go_on=go_on,
        )
        if run.memory is not None and not self.config.quirks.test_moves_statistics:
            run.memory.census.recount()
        if self._observe:
            loss = self._printed_loss()
            run.evaluator.write(step, "note", found.seen, found.accuracy, loss)
            self._event(
                "note_test", images=found.seen, batches=tested, loss=loss, accuracy=found.accuracy
            )

    def _printed_loss(self) -> float:
        """The training loss since the last test as the note prints it."""
        self.flush()
        table = self.history[steps_table("note")]
        losses = table.column("loss", start=max(0, len(table) - self.config.eval_every))
        divided = self.config.quirks.loss_divided_twice
        return float(losses.mean()) / (self.config.batch_size if divided else 1)

    def evaluate(self, images: int | None = None) -> None:
        """Evaluate the active variants in both modes on the first `images` test images (all)."""
        count = len(self._images.test) if images is None else images
        for run in self.active:
            run.evaluator.observe(
                self.step_count,
                run.model,
                self._images.test[:count],
                self._images.test_labels[:count],
            )

    def checkpoint(self) -> None:
        """Hand the state of each active variant to `on_checkpoint`, its steps recorded before."""
        if self.on_checkpoint is not None:
            self.flush()
            for run in self.active:
                self.on_checkpoint(self.step_count, run.variant, snapshot(run.model))

    def finish(self) -> None:
        """Write what still waits and evaluate on all test images."""
        if self._observe and self.step_count:
            self.flush()
            self.evaluate()

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
        """Stop listening to the models and free what their statistics still hold."""
        self._resources.close()
        for run in self.runs.values():
            release(run.model)
