"""The ablation: each of the note's quirks alone, some together, all and none, on the same batches.

Every setting trains the variant ``note`` from the same weights on the same batches, with the note's
own test passes in between, and is then measured. Three seeds say how much of a difference is chance.
"""

import json
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import torch

from bnviz import data
from bnviz.config import RunConfig
from bnviz.data import Dataset
from bnviz.errors import ConfigError
from bnviz.evaluation.inference import evaluate, running_statistics
from bnviz.evaluation.modes import train_side
from bnviz.evaluation.population import population_statistics
from bnviz.i18n import _
from bnviz.nn import LeNet
from bnviz.records.schema import steps_table
from bnviz.subjects.note.limits import LOSS_STEPS, MOST_STEPS, SEEDS, STEPS
from bnviz.subjects.note.quirk_settings import ALL, NONE, QUIRKS, TOGETHER, config_of, on_in
from bnviz.training.checkpoints import errors_against
from bnviz.training.observers import MemoryObserver, StepRecorder
from bnviz.training.steps import NoteTested, build_model
from bnviz.training.tasks import Progress, no_progress
from bnviz.training.trainer import Trainer, VariantRun

SETTINGS = (NONE, *QUIRKS, *TOGETHER, ALL)
BATCH, TEST_EVERY = 16, 200
TEST_IMAGES = 500
"""No multiple of the batch size, so that the last batch of a test pass is smaller."""
POPULATION_IMAGES = 10_000
LOOK_EVERY = 50
LIMIT_MIB = 1024
# Share of a run's time that its training takes, for the estimate of the time left.
TRAINING_SHARE = 0.6


@dataclass(frozen=True)
class Bench:
    """What the bench found: `frame` has one row a setting and seed.

    Columns of `frame`: setting, seed; train_loss (mean cross-entropy of the last LOSS_STEPS steps);
    printed_loss and printed_accuracy, as the setting prints them after its last test pass, and
    loss_factor and accuracy_factor, by how much they differ from what they should be in the same
    pass; eval_accuracy and train_accuracy (0 to 1) on all test images, reloaded_accuracy in eval
    mode after `state_dict` went into a new model, and reload_change, what that changed; kept_bytes
    of tensors that the running statistics keep alive at the end and kept_nodes of their graph;
    mean_drift (in σ) and var_drift, root mean squares of the distance of the running statistics
    from the population's at the same weights; ms, the median time of a training step; steps done;
    and stopped, why a run ended early (empty if it did not).
    """

    frame: pd.DataFrame
    steps: int
    seeds: tuple[int, ...]
    batch_size: int
    dataset: str
    test_images: int
    seconds: float
    made: dict[str, str] = field(default_factory=dict)
    """Command, date and machine of a recorded bench."""

    def to_json(self) -> str:
        """All of it as one JSON document."""
        document = {**asdict(self), "frame": rows_of(self.frame)}
        return json.dumps(document, indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Bench":
        """Read what `to_json` wrote."""
        document = json.loads(text)
        frame = pd.DataFrame(document.pop("frame"))
        for name in frame.columns.difference(["setting", "stopped"]):
            frame[name] = pd.to_numeric(frame[name])  # a column of nothing but None
        return cls(frame, **{**document, "seeds": tuple(document["seeds"])})


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame as JSON takes them: None for what is no finite number."""
    return [
        {
            str(name): None if isinstance(v, float) and not math.isfinite(v) else v
            for name, v in row.items()
        }
        for row in frame.to_dict("records")
    ]


def check_bench(seeds: Sequence[int], steps: int, settings: Iterable[str] = SETTINGS) -> None:
    """Refuse what the bench cannot do.

    Raises ConfigError for no or doubled seeds, for steps and for settings that there are not.
    """
    for setting in settings:
        on_in(setting)
    if not seeds or len(set(seeds)) < len(seeds):
        raise ConfigError(
            _("seeds: got {value!r}; allowed: one or more whole numbers, each once.").format(
                value=",".join(map(str, seeds))
            )
        )
    for seed in seeds:
        RunConfig.parse(seed=seed)
    if not LOSS_STEPS <= steps <= MOST_STEPS:
        raise ConfigError(
            _("steps: got {value}; allowed: {least} to {most}.").format(
                value=steps, least=LOSS_STEPS, most=MOST_STEPS
            )
        )


def run_bench(
    settings: Iterable[str] = SETTINGS,
    seeds: Sequence[int] = SEEDS,
    steps: int = STEPS,
    progress: Progress = no_progress,
    *,
    dataset: Dataset | None = None,
    batch_size: int = BATCH,
    limit_mib: int = LIMIT_MIB,
) -> Bench:
    """Train and measure every setting of `settings` with every seed, on the CPU.

    A setting is one of `bnviz.subjects.note.quirk_settings`. A run whose statistics keep more than
    `limit_mib` alive ends there, and its row says so; what it kept is freed before the next.

    Raises ConfigError for an unknown setting, for seeds or steps that `check_bench` refuses, and
    for a batch that is larger than the data.
    """
    settings = tuple(settings)
    check_bench(seeds, steps, settings)
    dataset = dataset or data.load()
    fields = {
        "steps": steps, "batch_size": batch_size, "device": "cpu", "eval_every": TEST_EVERY,
        "eval_images": TEST_IMAGES, "memory_every": LOOK_EVERY, "memory_limit_mib": limit_mib,
    }  # fmt: skip
    runs = [(s, config_of(s, seed=seed, **fields)) for seed in seeds for s in settings]
    for _setting, config in runs:
        config.total_steps(len(dataset.train_labels))
    began, rows = time.monotonic(), []
    for number, (setting, config) in enumerate(runs):
        on_progress = partial(_part_of, progress, number, len(runs))
        with Trainer(config, dataset, observers=(StepRecorder, MemoryObserver)) as trainer:
            row = {"setting": setting, "seed": config.seed, **_measured(trainer, on_progress)}
        rows.append(row)
    return Bench(
        pd.DataFrame(rows), steps, tuple(seeds), batch_size, dataset.whose,
        len(dataset.test_labels), time.monotonic() - began,
    )  # fmt: skip


def _part_of(progress: Progress, number: int, runs: int, share: float) -> None:
    """Tell what share of all runs is done, when that `share` of one of them is."""
    progress(number, runs, (number + share) / runs)


def _measured(trainer: Trainer, on_progress: Callable[[float], None]) -> dict[str, Any]:
    """Train as the note does; `on_progress` is called with the share that is done. One row."""
    (run,) = trainer.runs.values()
    tested = _trained(trainer, run, on_progress)
    census = run.observer(MemoryObserver).census
    if run.stopped is None:
        census.update()
    table = trainer.history[steps_table(run.variant)]
    losses = torch.from_numpy(table.column("loss"))
    population = population_statistics(
        run.model,
        trainer.images.train[:POPULATION_IMAGES],
        on_progress=lambda: on_progress(1 - (1 - TRAINING_SHARE) / 2),
    )
    drift = errors_against(running_statistics(run.model), population)
    return {
        "train_loss": losses[-LOSS_STEPS:].mean().item(),
        **_printed(trainer.config, losses, tested),
        **_accuracies(trainer, run.model),
        "kept_bytes": census.bytes,
        "kept_nodes": census.nodes,
        "mean_drift": drift["mean_error"],
        "var_drift": drift["var_error"],
        "ms": median(table.column("ms").tolist()),
        "steps": len(losses),
        "stopped": run.stopped or "",
    }


def _trained(
    trainer: Trainer, run: VariantRun, on_progress: Callable[[float], None]
) -> NoteTested | None:
    """Make all steps; returns the last test pass, None where the run was stopped before."""
    while not trainer.done:
        trainer.step()
        step = trainer.step_count
        if step % LOOK_EVERY == 0:
            on_progress(TRAINING_SHARE * step / trainer.total_steps)
    if trainer.step_count % TEST_EVERY and run.stopped is None:
        trainer.test(run)
    trainer.flush()
    return run.tested


def _printed(
    config: RunConfig, losses: torch.Tensor, tested: NoteTested | None
) -> dict[str, float]:
    """What the note prints after its last test pass, and by what factor it is wrong."""
    if tested is None:  # stopped before the first
        return dict.fromkeys(
            ("printed_loss", "printed_accuracy", "loss_factor", "accuracy_factor"), math.nan
        )
    since = (len(losses) - 1) // TEST_EVERY * TEST_EVERY
    right_loss = losses[since:].mean().item()
    printed = right_loss / (config.batch_size if config.quirks.loss_divided_twice else 1)
    return {
        "printed_loss": printed,
        "printed_accuracy": tested.accuracy,
        "loss_factor": printed / right_loss,
        "accuracy_factor": tested.accuracy * tested.seen / max(tested.right, 1),
    }


def _accuracies(trainer: Trainer, model: LeNet) -> dict[str, float]:
    config, test, labels = trainer.config, trainer.images.test, trainer.images.test_labels

    def in_eval_mode(model: LeNet) -> float:
        return evaluate(model, test, labels, mode="eval", batch_size=1).accuracy

    logits = train_side(model, test, batch_size=config.batch_size, order=np.arange(len(test)))
    loaded = build_model(config, "note", test.device)
    loaded.load_state_dict(model.state_dict())
    own, reloaded = in_eval_mode(model), in_eval_mode(loaded)
    return {
        "eval_accuracy": own,
        "train_accuracy": float((logits.argmax(1) == labels.numpy()).mean()),
        "reloaded_accuracy": reloaded,
        "reload_change": reloaded - own,
    }
