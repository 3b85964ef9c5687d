"""Population statistics: what the running statistics estimate, measured at frozen weights.

Running statistics average over batches of many different weights. Measured over all images at the
weights of the moment, the mean and variance of each channel are those that a running average can
be compared with (PreciseBN: Wu & Johnson 2021, "Rethinking 'Batch' in BatchNorm",
https://arxiv.org/abs/2105.07576, section 3.1).
"""

from collections.abc import Callable
from contextlib import suppress

import numpy as np
import torch
from torch import Tensor

from bnviz.errors import ConfigError, check_choice, check_least
from bnviz.evaluation.inference import (
    Evaluation,
    Statistics,
    evaluate,
    forward,
    to_input,
    with_statistics,
)
from bnviz.i18n import _
from bnviz.instrument.capture import ForwardHook, hooked
from bnviz.nn import LeNet
from bnviz.nn.state import restored, set_statistics
from bnviz.nn.state import statistics as get_statistics
from bnviz.records.moving_averages import pooled

POPULATION_IMAGES = 10_000
"""So many training images stand for the whole data set where a population is measured."""
HOW = ("layer_by_layer", "one_pass")


@torch.no_grad()
def population_statistics(
    model: LeNet,
    images: Tensor,
    *,
    batch_size: int = 1000,
    how: str = "layer_by_layer",
    on_progress: Callable[[], None] = lambda: None,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Mean and unbiased variance (C,) of what enters each norm layer, over all `images`.

    `images` are uint8 of shape (N, 28, 28); the result has the names of `LeNet.norm_layers`.
    Sums are in double precision, and batches are pooled by the law of total variance (`pooled`).
    The model is left exactly as it was, also on failure.

    ``layer_by_layer`` measures the first layer, lets it normalize by what was measured, measures
    the second, and so on: each layer sees what it will see in eval mode, and `batch_size` does not
    matter. ``one_pass`` runs once in train mode, where each layer normalizes by its batch of
    `batch_size`, as PreciseBN does
    (https://github.com/facebookresearch/fvcore/blob/main/fvcore/nn/precise_bn.py) and
    `torch.optim.swa_utils.update_bn`, which averages the batch variances instead of pooling.

    `on_progress` is called with each batch that is measured; what it raises ends the measurement.

    Raises ConfigError for another `how`, a model without statistics, fewer than two images and a
    `batch_size` below 1 (below 2 for ``one_pass``).
    """
    check_choice("how", how, HOW)
    if any(get_statistics(layer) is None for layer in model.norm_layers().values()):
        raise ConfigError(
            _(
                "model: got norm {norm!r}, which has no running statistics; allowed: a variant "
                "that normalizes."
            ).format(norm=model.norm)
        )
    check_least("images", len(images), 2)
    check_least("batch_size", batch_size, 1)
    with restored(model):
        if how == "one_pass":
            return _in_one_pass(model, images, batch_size, on_progress)
        return _layer_by_layer(model, images, batch_size, on_progress)


def recalibrate(
    model: LeNet, images: Tensor, *, batches: int, batch_size: int, how: str = "layer_by_layer"
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Statistics for eval mode from the first `batches` batches of `images` at frozen weights.

    `population_statistics` of batches x batch_size uint8 images (N, 28, 28); put them into the
    layers with `bnviz.nn.state.set_statistics`, or evaluate with them. The model is left exactly as
    it was. Raises ConfigError for fewer than one batch, for more images than there are and as
    `population_statistics`.
    """
    check_least("batches", batches, 1)
    check_least("batch_size", batch_size, 1)
    wanted = batches * batch_size
    if wanted > len(images):
        raise ConfigError(
            _(
                "batches: got {batches} of {batch_size}, which is {wanted:,} images; allowed: at "
                "most {most} batches of the {count:,} there are."
            ).format(
                batches=batches, batch_size=batch_size, wanted=wanted,
                most=len(images) // batch_size, count=len(images),
            )
        )  # fmt: skip
    return population_statistics(model, images[:wanted], batch_size=batch_size, how=how)


def _in_one_pass(
    model: LeNet, images: Tensor, batch_size: int, on_progress: Callable[[], None]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    moments = _InputMoments(on_progress)
    with hooked(model.norm_layers().items(), moments):
        forward(model, images, mode="train", batch_size=batch_size)
    return {name: moments.pooled(name) for name in model.norm_layers()}


def _layer_by_layer(
    model: LeNet, images: Tensor, batch_size: int, on_progress: Callable[[], None]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    model.eval()
    dtype = next(model.parameters()).dtype
    moments, result = _InputMoments(on_progress, ends_pass=True), {}
    for name, layer in model.norm_layers().items():
        with hooked([(name, layer)], moments):
            for part in images.split(batch_size):
                with suppress(_Reached):
                    model(to_input(part, dtype))
        mean, var = result[name] = moments.pooled(name)
        set_statistics(layer, torch.tensor(mean), torch.tensor(var))
    return result


class _Reached(Exception):
    """The layer that is measured has its input: the rest of the network need not be run."""


class _InputMoments(ForwardHook):
    """Count, mean and biased variance of each channel that enters a layer, in double precision."""

    def __init__(self, on_progress: Callable[[], None], *, ends_pass: bool = False) -> None:
        self._on_progress, self._ends_pass = on_progress, ends_pass
        self._batches: dict[str, list[tuple[int, np.ndarray, np.ndarray]]] = {}

    def before(self, layer: str, inputs: tuple[Tensor, ...]) -> None:
        """Measure a batch (N, C, ...)."""
        self._on_progress()
        (x,) = inputs
        wide = (x.cpu() if x.device.type == "mps" else x).double()  # MPS has no float64
        var, mean = torch.var_mean(wide, [d for d in range(x.dim()) if d != 1], correction=0)
        batch = (x.numel() // x.shape[1], mean.cpu().numpy(), var.cpu().numpy())
        self._batches.setdefault(layer, []).append(batch)
        if self._ends_pass:
            raise _Reached

    def pooled(self, layer: str) -> tuple[np.ndarray, np.ndarray]:
        """Mean and unbiased variance (C,) of all batches of a layer together."""
        counts, means, variances = map(list, zip(*self._batches[layer], strict=True))
        return pooled(counts, means, variances)


def evaluate_with_statistics(
    model: LeNet,
    statistics: Statistics | None,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float | None = None,
) -> Evaluation:
    """Loss and accuracy in eval mode with other running statistics or another eps.

    `images` are uint8 (N, 28, 28), `labels` int64 (N,). `statistics` maps the names of
    `LeNet.norm_layers` to mean and variance of shape (C,); None leaves the model's own, and so
    does None for `eps`. The model is put back as it was, also on failure. Raises ConfigError for
    statistics of another shape.
    """
    with with_statistics(model, statistics, eps):
        return evaluate(model, images, labels, mode="eval", batch_size=1)
