"""The bug bench: each of the note's quirks alone, some together, all and none, on the same batches.

Every setting trains the variant ``note`` from the same weights on the same batches, with the note's
own test passes in between, and is then measured. Three seeds say how much of a difference is chance.
"""

import json
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import torch

from bnviz import data
from bnviz.census.graph_census import GraphCensus, release
from bnviz.config import RunConfig
from bnviz.data import Dataset
from bnviz.errors import ConfigError
from bnviz.evaluation.inference import evaluate, running_statistics
from bnviz.evaluation.modes import train_side
from bnviz.evaluation.population import population_statistics
from bnviz.i18n import _
from bnviz.nn import LeNet
from bnviz.subjects.note.quirk_settings import ALL, NONE, QUIRKS, TOGETHER, config_of, on_in
from bnviz.training.checkpoints import errors_against
from bnviz.training.steps import (
    Images,
    NoteTested,
    batches,
    build_model,
    build_optimizer,
    note_test,
    train_step,
)
from bnviz.training.tasks import Progress, unheard
from bnviz.units import MIB

SETTINGS = (NONE, *QUIRKS, *TOGETHER, ALL)
SEEDS = (0, 1, 2)
STEPS, MOST_STEPS = 600, 20_000
TEST_EVERY = 200
TEST_IMAGES = 500
"""No multiple of the batch size, so that the last batch of a test pass is smaller."""
LOSS_STEPS = 100
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
    progress: Progress = unheard,
    *,
    dataset: Dataset | None = None,
    batch_size: int = 16,
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
    images_of = dataset or data.load()
    images = Images(images_of, torch.device("cpu"))
    runs = [
        (setting, config_of(setting, seed=seed, steps=steps, batch_size=batch_size, device="cpu"))
        for seed in seeds
        for setting in settings
    ]
    for _setting, config in runs:
        config.total_steps(len(images.train))
    began, rows = time.monotonic(), []
    for number, (setting, config) in enumerate(runs):

        def heed(share: float, number: int = number) -> None:
            progress(number, len(runs), (number + share) / len(runs))

        with _Run(config, images, limit_mib) as run:
            rows.append({"setting": setting, "seed": config.seed, **run.measure(steps, heed)})
    return Bench(
        pd.DataFrame(rows), steps, tuple(seeds), batch_size, images_of.whose,
        len(images.test), time.monotonic() - began,
    )  # fmt: skip


class _Run:
    """One setting at one seed: trained, tested as the note tests, measured, and freed."""

    def __init__(self, config: RunConfig, images: Images, limit_mib: int):
        self._config, self._images, self._limit = config, images, limit_mib * MIB
        self._model = build_model(config, "note", images.train.device)
        self._census = GraphCensus(self._model)
        self._losses: list[torch.Tensor] = []
        self._times: list[float] = []
        self._tested: NoteTested | None = None

    def __enter__(self) -> "_Run":
        return self

    def __exit__(self, *_exception: object) -> None:
        release(self._model)

    def measure(self, steps: int, heed: Any) -> dict[str, Any]:
        """Train `steps` steps; `heed` hears the share that is done and may raise. One row."""
        self._train(steps, heed)
        losses = torch.stack(self._losses).double()
        self._census.update()
        kept = {"kept_bytes": self._census.bytes, "kept_nodes": self._census.nodes}
        return {
            "train_loss": losses[-LOSS_STEPS:].mean().item(),
            **self._printed(losses),
            **self._accuracies(),
            **kept,
            **self._drift(lambda: heed(1 - (1 - TRAINING_SHARE) / 2)),
            "ms": 1e3 * median(self._times),
            "steps": len(losses),
            "stopped": self._stopped(),
        }

    def _train(self, steps: int, heed: Any) -> None:
        optimizer = build_optimizer(self._config, self._model, self._images.train.device)
        training = batches(self._images, self._config)
        for step, (inputs, labels) in zip(range(1, steps + 1), training, strict=False):
            began = time.perf_counter()
            self._losses.append(train_step(self._model, optimizer, inputs, labels))
            self._times.append(time.perf_counter() - began)
            if step % LOOK_EVERY == 0:
                self._census.update()
                heed(TRAINING_SHARE * step / steps)
            if step % TEST_EVERY == 0 or step == steps:
                self._test()
            if self._full():
                return

    def _test(self) -> None:
        def go_on() -> bool:
            self._census.update()
            return not self._full()

        self._tested = note_test(
            self._model,
            self._images.test[:TEST_IMAGES],
            self._images.test_labels[:TEST_IMAGES],
            batch_size=self._config.batch_size,
            quirks=self._config.quirks,
            go_on=go_on,
        )
        if not self._config.quirks.test_moves_statistics:
            self._census = GraphCensus(self._model)  # put back: what the pass kept is gone

    def _full(self) -> bool:
        return self._census.bytes > self._limit

    def _stopped(self) -> str:
        if not self._full():
            return ""
        return _("stopped at step {step}: {kept:,.0f} MiB kept, the limit is {limit:,.0f}").format(
            step=len(self._losses), kept=self._census.bytes / MIB, limit=self._limit / MIB
        )

    def _printed(self, losses: torch.Tensor) -> dict[str, float]:
        """What the note prints after its last test pass, and by what factor it is wrong."""
        tested = self._tested
        if tested is None:  # stopped before the first
            return dict.fromkeys(
                ("printed_loss", "printed_accuracy", "loss_factor", "accuracy_factor"), math.nan
            )
        since = (len(losses) - 1) // TEST_EVERY * TEST_EVERY
        right_loss = losses[since:].mean().item()
        printed = right_loss / (
            self._config.batch_size if self._config.quirks.loss_divided_twice else 1
        )
        return {
            "printed_loss": printed,
            "printed_accuracy": tested.accuracy,
            "loss_factor": printed / right_loss,
            "accuracy_factor": tested.accuracy * tested.seen / max(tested.right, 1),
        }

    def _accuracies(self) -> dict[str, float]:
        test, labels = self._images.test, self._images.test_labels

        def in_eval_mode(model: LeNet) -> float:
            return evaluate(model, test, labels, mode="eval", batch_size=1).accuracy

        logits = train_side(
            self._model, test, batch_size=self._config.batch_size, order=np.arange(len(test))
        )
        loaded = build_model(self._config, "note", test.device)
        loaded.load_state_dict(self._model.state_dict())
        own, reloaded = in_eval_mode(self._model), in_eval_mode(loaded)
        return {
            "eval_accuracy": own,
            "train_accuracy": float((logits.argmax(1) == labels.numpy()).mean()),
            "reloaded_accuracy": reloaded,
            "reload_change": reloaded - own,
        }

    def _drift(self, heed: Any) -> dict[str, float | None]:
        population = population_statistics(
            self._model, self._images.train[:POPULATION_IMAGES], heed=heed
        )
        errors = errors_against(running_statistics(self._model), population)
        return {"mean_drift": errors["mean_error"], "var_drift": errors["var_error"]}
