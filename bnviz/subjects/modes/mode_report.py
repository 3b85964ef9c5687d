"""A checkpoint in train mode and in eval mode, and eval mode recalibrated: the numbers of both pages."""

import time
from typing import Any

import numpy as np
import torch

from bnviz.data import Dataset
from bnviz.evaluation.inference import standard_error
from bnviz.evaluation.modes import compare_modes, layer_drift, paired_counts
from bnviz.evaluation.population import evaluate_with_statistics, recalibrate
from bnviz.nn import LeNet
from bnviz.nn.variants import VARIANTS
from bnviz.training.checkpoints import Run, model_at


def compare_at(
    run: Run, variant: str, step: int, *, batch_size: int, dataset: Dataset
) -> dict[str, Any]:
    """Both modes of a checkpoint on all test images of `dataset`, as plain JSON values.

    ``accuracy`` and ``standard_error`` by mode (0 to 1); ``pairs``, the numbers of images that
    both, only one or none of the modes gets right; ``differ``, of those with two answers; and
    ``drift``, by layer the root mean square over its channels of `layer_drift` (none without BN).
    Train mode takes the images in their order, in batches of `batch_size`.

    Raises ConfigError for a batch of one, RunError for a checkpoint that is gone.
    """
    model = model_at(run, variant, step)
    images = torch.tensor(dataset.test_images)
    frame = compare_modes(model, images, dataset.test_labels, batch_size=batch_size)
    train, evaluation = frame["train_right"], frame["eval_right"]
    accuracy = {"train": float(train.mean()), "eval": float(evaluation.mean())}
    return {
        "batch_size": batch_size,
        "images": len(frame),
        "accuracy": accuracy,
        "standard_error": {m: standard_error(a, len(frame)) for m, a in accuracy.items()},
        "pairs": paired_counts(frame),
        "differ": int(frame["differ"].sum()),
        "drift": _drift(model, images, batch_size) if VARIANTS[variant].normalizes else {},
    }


def _drift(model: LeNet, images: torch.Tensor, batch_size: int) -> dict[str, float]:
    """By layer the root mean square of `layer_drift` over its channels."""
    drift = layer_drift(model, images, batch_size=batch_size)
    return {
        str(layer): float(np.sqrt((rows["drift"] ** 2).mean()))
        for layer, rows in drift.groupby("layer", sort=False)
    }


def recalibrate_at(
    run: Run, variant: str, step: int, *, batches: int, batch_size: int, dataset: Dataset
) -> dict[str, Any]:
    """Eval mode of a checkpoint before and after a recalibration, as plain JSON values.

    The statistics become those of the first `batches` batches of the training images of `dataset`
    at frozen weights (`bnviz.evaluation.population.recalibrate`). ``accuracy`` (0 to 1) and
    ``standard_error`` have ``before`` and ``after``; ``seconds`` is what the recalibration took.

    Raises ConfigError for more images than there are, RunError for a checkpoint that is gone.
    """
    model = model_at(run, variant, step)
    began = time.perf_counter()
    training = torch.tensor(dataset.train_images)
    statistics = recalibrate(model, training, batches=batches, batch_size=batch_size)
    seconds = time.perf_counter() - began
    test, labels = torch.tensor(dataset.test_images), torch.tensor(dataset.test_labels)
    accuracy = {
        when: evaluate_with_statistics(model, chosen, test, labels).accuracy
        for when, chosen in (("before", None), ("after", statistics))
    }
    return {
        "batches": batches,
        "batch_size": batch_size,
        "images": batches * batch_size,
        "accuracy": accuracy,
        "standard_error": {w: standard_error(a, len(labels)) for w, a in accuracy.items()},
        "seconds": round(seconds, 3),
    }
