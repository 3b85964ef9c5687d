"""The note's printed log, and a replay of it on this machine.

The note prints, for nn.BatchNorm at batch 4 with Adam at 0.01, five epochs. Its loss is a mean that
is divided by the batch size once more; its accuracy comes from a test pass in train mode, in which
each image is normalized with its three neighbours and the running statistics move.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from bnviz import data
from bnviz.config import RunConfig
from bnviz.data import Dataset
from bnviz.errors import ConfigError
from bnviz.evaluation.inference import evaluate
from bnviz.evaluation.modes import train_side
from bnviz.i18n import _
from bnviz.subjects.note.limits import MOST_EPOCHS
from bnviz.subjects.note.original_loop import compare_loops
from bnviz.training.observer import Observer
from bnviz.training.tasks import Progress, no_progress
from bnviz.training.trainer import Trainer, VariantRun

BATCH = 4
LOOK_EVERY = 100
TEST_IMAGES = 10_000
"""All of them."""
LARGE_BATCH = 256
"""A batch so large that train mode is normalized nearly as the whole test set would be."""


class Printed(NamedTuple):
    """A line of the note's log."""

    epoch: int
    loss: float
    """As printed: divided by the batch size once too often."""
    seconds: float
    """On the GPU of the note's author."""
    accuracy: float


# The last block of the note ("训练输出如下", the output of training with nn.BatchNorm2d and 1d).
PRINTED = (
    Printed(1, 0.194394, 50.538379, 0.7894),
    Printed(2, 0.146268, 52.352518, 0.7895),
    Printed(3, 0.132021, 52.240710, 0.8206),
    Printed(4, 0.126241, 53.277958, 0.8244),
    Printed(5, 0.120607, 52.067259, 0.8318),
)


@dataclass(frozen=True)
class Replay:
    """What a replay of the log found: `frame` has one row an epoch.

    Columns of `frame`: epoch; mean_loss, the mean cross-entropy of its steps, and printed_loss, as
    the note divides it; note_accuracy, of a test pass as the note makes it; large_batch_accuracy, in
    train mode at batch LARGE_BATCH, and eval_accuracy, of the same weights before that pass moved the
    statistics; eval_error, the standard error of the last; and seconds of training.
    """

    frame: pd.DataFrame
    seed: int
    batch_size: int
    steps: int
    """Of an epoch."""
    dataset: str
    test_images: int
    threads: int
    """Of torch in the replay."""
    loops: dict[str, float]
    """Times of a step of the note's own loop and of ours, as `compare_loops` gives them."""
    made: dict[str, str] = field(default_factory=dict)
    """Command, date and machine of a recorded replay."""

    def to_json(self) -> str:
        """All of it as one JSON document."""
        document = {**asdict(self), "frame": self.frame.to_dict("records")}
        return json.dumps(document, indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Replay":
        """Read what `to_json` wrote."""
        document = json.loads(text)
        return cls(pd.DataFrame(document.pop("frame")), **document)


def check_log(epochs: int, seed: int) -> None:
    """Refuse what the log does not have.

    Raises ConfigError for epochs outside 1 to MOST_EPOCHS and for a seed that is none.
    """
    RunConfig.parse(seed=seed)
    if not 1 <= epochs <= MOST_EPOCHS:
        raise ConfigError(
            _("epochs: got {value}; allowed: 1 to {most}, as many as the note prints.").format(
                value=epochs, most=MOST_EPOCHS
            )
        )


def replay_log(
    epochs: int = MOST_EPOCHS,
    progress: Progress = no_progress,
    *,
    seed: int = 0,
    dataset: Dataset | None = None,
    loops: bool = True,
) -> Replay:
    """Train and test as the note did, epoch by epoch, and measure what it should have printed.

    `loops` also times the note's own loop beside ours, first, in a process of its own. `progress`
    is called every LOOK_EVERY steps. Raises ConfigError for epochs outside 1 to MOST_EPOCHS and for
    fewer than BATCH images, RunError when the note's loop cannot be timed.
    """
    check_log(epochs, seed)
    config = RunConfig.parse(
        variants="builtin", device="cpu", batch_size=BATCH, epochs=epochs, seed=seed,
        eval_images=TEST_IMAGES,
    )  # fmt: skip
    dataset = dataset or data.load()
    config.total_steps(len(dataset.train_labels))

    def on_progress(epoch: int, share: float) -> None:
        progress(epoch, epochs, (epoch + share) / epochs)

    on_progress(0, 0.0)
    found = (
        compare_loops(BATCH, lambda done, parts, share=None: on_progress(0, 0.0)) if loops else {}
    )
    with Trainer(config, dataset, observers=[_Epoch]) as trainer:
        rows = [_epoch(trainer, number, on_progress) for number in range(epochs)]
        return Replay(
            pd.DataFrame(rows), seed, BATCH, trainer.step_count // epochs, dataset.whose,
            len(trainer.images.test), torch.get_num_threads(), found,
        )  # fmt: skip


class _Epoch(Observer):
    """What an epoch of the replay adds up, and how far its test pass is."""

    loss = 0.0
    """Sum over the steps."""
    tested = 0
    """Batches."""
    on_progress: Callable[[float], None]
    """Called with the share of the epoch that is done."""

    def after_update(self, step: int, loss: Tensor) -> None:
        """Add the loss."""
        self.loss += loss.item()

    def after_test_batch(self) -> None:
        """Say how far it is."""
        self.tested += 1
        if self.tested % LOOK_EVERY == 0:
            self.on_progress(0.9 + 0.1 * self.tested * BATCH / len(self.trainer.images.test))


def _epoch(
    trainer: Trainer, number: int, on_progress: Callable[[int, float], None]
) -> dict[str, float]:
    """Train and test one epoch: a row of `Replay.frame`."""
    (run,) = trainer.runs.values()
    seen, steps = run.observer(_Epoch), trainer.total_steps // (trainer.config.epochs or 1)
    seen.loss, seen.tested, seen.on_progress = 0.0, 0, partial(on_progress, number)
    began = time.perf_counter()
    for step in range(1, steps + 1):
        trainer.step()
        if step % LOOK_EVERY == 0:
            seen.on_progress(0.9 * step / steps)
    seconds = time.perf_counter() - began
    return {
        "epoch": number + 1,
        "mean_loss": seen.loss / steps,
        "printed_loss": seen.loss / (steps * BATCH),
        **_measured(trainer, run),
        "seconds": seconds,
    }


def _measured(trainer: Trainer, run: VariantRun) -> dict[str, float]:
    """Accuracies on all test images; the note's pass comes last, for it moves the statistics."""
    test, labels = trainer.images.test, trainer.images.test_labels
    in_eval = evaluate(run.model, test, labels, mode="eval", batch_size=1)
    large = train_side(run.model, test, batch_size=LARGE_BATCH, order=np.arange(len(test)))
    return {
        "note_accuracy": trainer.test(run).accuracy,
        "large_batch_accuracy": float((large.argmax(1) == labels.numpy()).mean()),
        "eval_accuracy": in_eval.accuracy,
        "eval_error": in_eval.standard_error,
    }
