"""The observers of a run: each reads what it looks at and writes it into the history.

`OBSERVERS` is the list of them; who adds one adds it there. Drawing is somebody else's work.
"""

import time
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from bnviz.census.allocator import device_bytes, process_bytes
from bnviz.census.graph_census import GraphCensus
from bnviz.config import EARLY_EVALUATIONS
from bnviz.evaluation.inference import evaluate
from bnviz.i18n import _
from bnviz.nn.state import STATISTICS, restore, snapshot
from bnviz.nn.variants import VARIANTS
from bnviz.records.schema import CHANNELS, MODES, memory_table, steps_table
from bnviz.training.gradients import GradientSampler
from bnviz.training.observer import Observer
from bnviz.training.stages import StageSampler
from bnviz.training.steps import NoteTested, StepTimer, build_model
from bnviz.units import MIB

if TYPE_CHECKING:
    from bnviz.training.trainer import Trainer, VariantRun

FLUSH_EVERY = 32
"""So many steps may wait on the device for their way into the history,"""
FLUSH_AFTER_S = 0.2
"""or those of this many seconds."""
PROCESS_EVERY_S = 0.1
EARLY_IMAGES = 200
"""An early evaluation takes so many images."""


class StepRecorder(Observer):
    """Loss, time, batch and running statistics of every step.

    Rows wait on the device and travel to the history many at a time, so that a GPU is not made to
    wait at each step. A loss that is no finite number stops the variant.
    """

    def __init__(self, trainer: "Trainer", run: "VariantRun"):
        super().__init__(trainer, run)
        self._table = trainer.history[steps_table(run.variant)]
        self._timer = StepTimer(trainer.device)
        self._rows = torch.full(
            (FLUSH_EVERY, 4, CHANNELS),
            torch.nan,
            device=trainer.device,
            dtype=getattr(torch, trainer.config.dtype),
        )
        self._flat_rows = [row.view(-1) for row in self._rows]
        self._losses: list[Tensor] = []
        self._steps: list[int] = []
        self._flushed = time.monotonic()
        self._norms = run.norms

    def before_update(self, step: int) -> None:
        """Take the time."""
        self._timer.start()

    @torch.no_grad()
    def after_update(self, step: int, loss: Tensor) -> None:
        """Take note of the step that has just been made."""
        self._timer.stop()
        vectors = self._norms.raw_statistics()
        if vectors is not None:
            torch.cat(vectors, out=self._flat_rows[len(self._steps)])
        self._losses.append(loss)
        self._steps.append(step)

    def after_step(self, step: int) -> None:
        """Let the rows of all variants travel where one has no room for the next."""
        waited = time.monotonic() - self._flushed
        if len(self._steps) == FLUSH_EVERY or waited > FLUSH_AFTER_S:
            self.trainer.flush()

    def flush(self) -> None:
        """Write the waiting rows."""
        count, milliseconds = len(self._steps), self._timer.read()
        self._flushed = time.monotonic()
        if not count:
            return
        losses = torch.stack(self._losses).double().cpu().numpy()
        self._losses = []
        self._norms.finish_variances(self._rows[:count, 1])
        rows = self._rows[:count].cpu().float().numpy()
        self._table.extend(
            step=np.array(self._steps),
            loss=losses,
            ms=np.array(milliseconds),
            batch_mean=rows[:, 0],
            batch_var=rows[:, 1],
            running_mean=rows[:, 2],
            running_var=rows[:, 3],
        )
        self._steps = []
        if not np.isfinite(losses).all():
            self.trainer.stop(self.run, self._diverged(losses))

    def _diverged(self, losses: np.ndarray) -> str:
        return _(
            "The loss became {value} near step {step}: training has diverged. "
            "Lower lr (now {lr:g})."
        ).format(
            value=losses[~np.isfinite(losses)][0],
            step=self.trainer.step_count,
            lr=self.trainer.settings["lr"],
        )


class MemoryObserver(Observer):
    """Autograd nodes and tensor bytes that the running statistics of a variant keep alive.

    Past the limit of the config the variant is stopped.
    """

    when = "memory"

    def __init__(self, trainer: "Trainer", run: "VariantRun"):
        super().__init__(trainer, run)
        self.census = GraphCensus(run.model, only=STATISTICS)
        self._table = trainer.history[memory_table(run.variant)]

    def after_step(self, step: int) -> None:
        """Count what came since the last look and write the totals."""
        self.census.update()
        kept = self.census.bytes
        self._table.append(step=step, kept_bytes=kept, graph_nodes=self.census.nodes)
        limit = self.trainer.config.memory_limit_mib
        if kept > limit * MIB:
            self.trainer.stop(
                self.run,
                _(
                    "{variant} keeps {kept:,.1f} MiB of tensors alive at step {step}, more than the "
                    "limit of {limit:,} MiB: its running statistics hold the graph of every batch "
                    "that was tested with gradients on. Detach them, or test in eval mode or with "
                    "no_grad."
                ).format(
                    variant=_(VARIANTS[self.run.variant].label),
                    kept=kept / MIB,
                    step=step,
                    limit=limit,
                ),
            )

    def after_test_batch(self) -> None:
        """A test batch may be kept too."""
        self.after_step(self.trainer.step_count)

    def after_test(self, step: int, tested: NoteTested) -> None:
        """Where the statistics were put back, what the pass kept is gone."""
        if not self.trainer.config.quirks.test_moves_statistics:
            self.census.recount()


class ProcessObserver(Observer):
    """Memory of the process (`process_bytes`) and, on an accelerator, of torch's allocator there.

    At most one row in PROCESS_EVERY_S: asking the operating system takes long for so slow a number.
    """

    of_each_variant = False
    when = "memory"

    def __init__(self, trainer: "Trainer", run: "VariantRun"):
        super().__init__(trainer, run)
        self._table = trainer.history["process"]
        self._looked = -PROCESS_EVERY_S

    def after_step(self, step: int) -> None:
        """Write one row, if it is time."""
        now = time.monotonic()
        if now - self._looked < PROCESS_EVERY_S:
            return
        self._looked = now
        allocated, reserved = device_bytes(self.trainer.device)
        self._table.append(
            step=step,
            **process_bytes(),
            device_allocated=allocated,
            device_reserved=reserved,
        )


class Evaluator(Observer):
    """Accuracy in train mode and in eval mode, on a copy of the model, and that of the note's test.

    The copy gets the weights and statistics of the moment, so nothing that an evaluation does
    reaches the model itself.
    """

    when = "evaluation"

    def __init__(self, trainer: "Trainer", run: "VariantRun"):
        super().__init__(trainer, run)
        config = trainer.config
        self._copy = build_model(config, run.variant, trainer.device)
        self._variant, self._batch_size = config.variants.index(run.variant), config.batch_size

    def after_step(self, step: int) -> None:
        """Evaluate, soon after the start on fewer images."""
        early = step in EARLY_EVALUATIONS
        self.evaluate(EARLY_IMAGES if early else self.trainer.config.eval_images)

    def finish(self) -> None:
        """Evaluate on all test images."""
        self.evaluate()

    def evaluate(self, count: int | None = None) -> None:
        """Evaluate on the first `count` test images (all) in both modes and write two rows."""
        images = self.trainer.images.test[:count]
        labels = self.trainer.images.test_labels[:count]
        state = snapshot(self.run.model)
        for mode in ("train", "eval"):
            if mode == "train" and self._batch_size < 2:
                continue
            restore(self._copy, state)
            found = evaluate(self._copy, images, labels, mode=mode, batch_size=self._batch_size)
            self._write(mode, len(images), found.accuracy, found.loss)

    def after_test(self, step: int, tested: NoteTested) -> None:
        """Write what the note would print."""
        loss = self._printed_loss()
        self._write("note", tested.seen, tested.accuracy, loss)
        self.trainer.event(
            "note_test",
            images=tested.seen,
            batches=-(-tested.seen // self._batch_size),
            loss=loss,
            accuracy=tested.accuracy,
        )

    def _printed_loss(self) -> float:
        """The training loss since the last test as the note prints it."""
        self.trainer.flush()
        table, config = self.trainer.history[steps_table(self.run.variant)], self.trainer.config
        losses = table.column("loss", start=max(0, len(table) - config.eval_every))
        divided = config.quirks.loss_divided_twice
        return float(losses.mean()) / (config.batch_size if divided else 1)

    def _write(self, mode: str, images: int, accuracy: float, loss: float) -> None:
        self.trainer.history["evaluations"].append(
            step=self.trainer.step_count,
            variant=self._variant,
            mode=MODES.index(mode),
            images=images,
            batch_size=self._batch_size,
            accuracy=accuracy,
            loss=loss,
        )


class Checkpoints(Observer):
    """Hands the state of the models on to who stores it."""

    of_each_variant = False
    when = "checkpoint"

    def after_step(self, step: int) -> None:
        """It is time for a checkpoint."""
        self.trainer.checkpoint()


OBSERVERS: tuple[type[Observer], ...] = (
    StepRecorder,
    StageSampler,
    GradientSampler,
    ProcessObserver,
    MemoryObserver,
    Evaluator,
    Checkpoints,
)
"""Who looks at a run, in this order."""
