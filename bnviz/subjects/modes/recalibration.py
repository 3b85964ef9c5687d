"""Eval mode recalibrated: other running statistics for the same weights, and checkpoints kept of them.

A kept checkpoint lies beside those of the run, ``checkpoints/<step>-<variant>.<name>.safetensors``,
with what was done to it in its metadata. It has all tensors, so that it loads like any other.
"""

import json
import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from bnviz import data
from bnviz.data import Dataset
from bnviz.errors import RunError, check_choice, check_share
from bnviz.evaluation.inference import Statistics, running_statistics
from bnviz.evaluation.population import evaluate_with_statistics, recalibrate
from bnviz.i18n import _
from bnviz.nn.state import restore, set_statistics, snapshot
from bnviz.records.momentum_maps import COMPARED_MOMENTA
from bnviz.records.recorded_statistics import precise_batch, replayed_statistics
from bnviz.records.run_files import DamagedFile, read_file, write_file
from bnviz.records.run_names import RECORDED_FOLDER
from bnviz.training.checkpoints import Run, model_at
from bnviz.training.tasks import Progress, no_progress

METHODS = ("recalibrated", "replayed", "blended")
CHOOSING_IMAGES = 2000
"""Training images on which the best momentum is chosen, so that the test images stay fresh."""


@dataclass(frozen=True)
class _Worth:
    """What other statistics of a checkpoint are worth."""

    variant: str
    step: int
    method: str
    """One of METHODS."""
    details: dict[str, float]
    """What the method was told: batches, batch_size, weight; or what it found: momentum."""
    before: float
    """Accuracy in eval mode on all test images, 0 to 1, with the checkpoint's own statistics."""
    after: float
    """The same with these."""


@dataclass(frozen=True)
class Recalibration(_Worth):
    """Statistics that replace those of a checkpoint, and what they are worth."""

    seconds: float
    """How long it took to find them, without the evaluation."""
    statistics: Statistics = field(repr=False)


def recalibrate_checkpoint(
    run: Run,
    variant: str,
    step: int,
    method: str,
    *,
    batches: int = 60,
    weight: float = 0.5,
    dataset: Dataset | None = None,
    progress: Progress = no_progress,
) -> Recalibration:
    """Find other running statistics for the checkpoint at `step`, and evaluate both.

    ``recalibrated`` takes those of `batches` training batches of the run's size at frozen weights
    (`bnviz.evaluation.population.recalibrate`); ``blended`` gives them the `weight` and the
    checkpoint's own the rest; ``replayed`` rebuilds them at the one of COMPARED_MOMENTA that is best on
    CHOOSING_IMAGES training images.

    Raises ConfigError for another method, a weight outside 0 to 1 and more batches than there are,
    RunError for a checkpoint that is gone.
    """
    check_choice("method", method, METHODS)
    check_share("weight", weight)
    images = dataset or data.load(run.config.dataset)
    model = model_at(run, variant, step)
    progress(0, 3)
    began = time.perf_counter()
    if method == "replayed":
        details, found = _best_replay(run, variant, step, images)
    else:
        batch_size = precise_batch(run.config.batch_size)
        training = torch.tensor(images.train_images)
        found = recalibrate(model, training, batches=batches, batch_size=batch_size)
        details = {"batches": batches, "batch_size": batch_size}
    if method == "blended":
        details["weight"] = weight
        found = _blended(model, found, weight)
    seconds = time.perf_counter() - began
    test, labels = torch.tensor(images.test_images), torch.tensor(images.test_labels)
    progress(1, 3)
    before = evaluate_with_statistics(model, None, test, labels).accuracy
    progress(2, 3)
    after = evaluate_with_statistics(model, found, test, labels).accuracy
    return Recalibration(variant, step, method, details, before, after, seconds, found)


def _best_replay(
    run: Run, variant: str, step: int, images: Dataset
) -> tuple[dict[str, float], Statistics]:
    """The momentum of COMPARED_MOMENTA whose statistics are best on some training images, and they."""
    model = model_at(run, variant, step)
    some = torch.tensor(images.train_images[:CHOOSING_IMAGES])
    labels = torch.tensor(images.train_labels[:CHOOSING_IMAGES])
    found = {
        m: replayed_statistics(run.config, run.history, variant, m, step) for m in COMPARED_MOMENTA
    }

    def accuracy(momentum: float) -> float:
        return evaluate_with_statistics(model, found[momentum], some, labels).accuracy

    best = max(COMPARED_MOMENTA, key=accuracy)
    return {"momentum": best}, found[best]


def _blended(model: Any, fresh: Statistics, weight: float) -> Statistics:
    """The layers' own statistics with `weight` of the fresh ones in them."""
    result = {}
    for name, (own_mean, own_var) in running_statistics(model).items():
        mean, var = fresh[name]
        result[name] = (
            (1 - weight) * own_mean + weight * mean,
            (1 - weight) * own_var + weight * var,
        )
    return result


@dataclass(frozen=True)
class StoredRecalibration(_Worth):
    """A checkpoint that was stored with recalibrated statistics."""

    name: str
    """Of its file, without the ending."""


def as_checkpoint(run: Run, recalibrated: Recalibration) -> bytes:
    """The weights of the checkpoint with the recalibrated statistics, as a safetensors file.

    Raises RunError when the checkpoint is gone.
    """
    from safetensors.torch import save

    model = model_at(run, recalibrated.variant, recalibrated.step)
    for name, layer in model.norm_layers().items():
        set_statistics(layer, *(torch.tensor(array) for array in recalibrated.statistics[name]))
    words = {k: v for k, v in asdict(recalibrated).items() if k != "statistics"}
    tensors = {name: tensor.contiguous() for name, tensor in snapshot(model).items()}
    return save(tensors, metadata={"bnviz_mended": json.dumps(words)})


def keep(run: Run, folder: Path | None, recalibrated: Recalibration) -> StoredRecalibration:
    """Store a recalibrated checkpoint in the `folder` of its run.

    Raises RunError where there is no folder, in the recorded run, which belongs to the package,
    and when it cannot be written.
    """
    folder = _folder_to_keep_in(folder)
    stem = f"{recalibrated.step}-{recalibrated.variant}.{recalibrated.method}"
    numbers = (_number(stored.name) for stored in kept(folder, recalibrated.variant))
    name = f"{stem}-{1 + max(numbers, default=0)}"
    try:
        write_file(folder, _file(name), as_checkpoint(run, recalibrated))
    except OSError as error:
        raise RunError(
            _("The checkpoint cannot be kept in {folder} ({error}). Free some space.").format(
                folder=folder, error=error.strerror or error
            )
        ) from error
    return StoredRecalibration(name=name, **{k: getattr(recalibrated, k) for k in _KEPT_WORDS})


def _folder_to_keep_in(folder: Path | None) -> Path:
    """`folder`, if a run of the reader's own lies there. Raises RunError."""
    if folder is None:
        raise RunError(
            _(
                "The checkpoint cannot be kept: this run is not stored. Download it, or start a "
                "run of your own."
            )
        )
    if folder == RECORDED_FOLDER:
        raise RunError(
            _(
                "The checkpoint cannot be kept: the recorded run belongs to the package. Download "
                "it, or start a run of your own."
            )
        )
    return folder


def _number(name: str) -> int:
    """The last part of the name of a kept checkpoint."""
    return int(name.split("-")[-1])


def kept(folder: Path | None, variant: str) -> list[StoredRecalibration]:
    """The recalibrated checkpoints of a variant that a run's folder has, in the order of their making.

    Files that cannot be read are left out.
    """
    from safetensors import SafetensorError, safe_open

    if folder is None:
        return []
    found = []
    for path in (folder / "checkpoints").glob(f"*-{variant}.*-*.safetensors"):
        try:
            read_file(folder, _file(path.stem))
            with safe_open(path, "np") as file:
                words = json.loads((file.metadata() or {})["bnviz_mended"])
            found.append(StoredRecalibration(name=path.stem, **{k: words[k] for k in _KEPT_WORDS}))
        except (OSError, SafetensorError, KeyError, ValueError):
            continue
    return sorted(found, key=lambda stored: _number(stored.name))


_KEPT_WORDS = tuple(each.name for each in fields(_Worth))


def kept_statistics(run: Run, folder: Path, kept_one: StoredRecalibration) -> Statistics:
    """The running statistics of a kept checkpoint. Raises RunError when it is gone or damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = folder / _file(kept_one.name)
    model = model_at(run, kept_one.variant, kept_one.step)
    try:
        restore(model, load(read_file(folder, _file(kept_one.name))))
    except (OSError, DamagedFile, SafetensorError, KeyError, RuntimeError) as error:
        raise RunError(
            _("The checkpoint {path} cannot be read ({error}). Choose another one.").format(
                path=path, error=error
            )
        ) from error
    return running_statistics(model)


def drop(folder: Path, name: str) -> None:
    """Delete a kept checkpoint. Raises RunError when it cannot be deleted."""
    path = folder / _file(name)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(
            _("{path} cannot be deleted ({error}).").format(path=path, error=error)
        ) from error


def _file(name: str) -> str:
    return f"checkpoints/{name}.safetensors"
