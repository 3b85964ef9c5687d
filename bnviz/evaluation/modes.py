"""Train mode against eval mode: the same images through the same weights both ways."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from bnviz.errors import ConfigError
from bnviz.evaluation.batch_context import random_contexts
from bnviz.evaluation.inference import (
    EVAL_CHUNK,
    Statistics,
    by_groups,
    check_batch,
    forward,
    groups_of,
    layers_by_batch,
    logits_by_groups,
    moments_by_group,
    to_input,
    with_statistics,
)
from bnviz.evaluation.population import recalibrate
from bnviz.i18n import _
from bnviz.instrument.capture import capture
from bnviz.nn.state import restored
from bnviz.nn.state import statistics as get_statistics

__all__ = [
    "PAIRS",
    "compare_modes",
    "eval_side",
    "layer_drift",
    "paired",
    "paired_counts",
    "random_contexts",
    "recalibrate",
    "train_side",
]  # fmt: skip


def train_side(model: Any, images: Tensor, *, batch_size: int, order: np.ndarray) -> np.ndarray:
    """Logits (N, 10) in train mode, each image in the batch that `order` gives it.

    The model is put back as it was: its running statistics are not written. Raises ConfigError for
    a batch of one.
    """
    return _by_batch(model, images, batch_size=batch_size, order=order).float().cpu().numpy()


def _by_batch(
    model: Any,
    images: Tensor,
    *,
    batch_size: int,
    order: np.ndarray | None,
    layers: list[str] | None = None,
) -> Tensor:
    """`logits_by_groups` of the images in the batches that `order` gives them, as they came."""
    index = torch.arange(len(images)) if order is None else torch.from_numpy(order)
    found = logits_by_groups(model, images[index], batch_size=batch_size, layers=layers)
    logits = torch.empty_like(found)
    logits[index] = found
    return logits


def eval_side(
    model: Any,
    images: Tensor,
    *,
    statistics: Statistics | None = None,
    eps: float | None = None,
    layer_modes: Mapping[str, str] | None = None,
    batch_size: int = EVAL_CHUNK,
    order: np.ndarray | None = None,
) -> np.ndarray:
    """Logits (N, 10) in eval mode, with other running statistics or another eps if given.

    `statistics` maps the names of `LeNet.norm_layers` to mean and variance of shape (C,).
    `layer_modes` lets single layers normalize by batches of `batch_size` of the images in their
    `order` (theirs): it maps their names to ``batch`` or ``running``. The model is put back as it
    was. Raises ConfigError for a layer, a mode or statistics that do not fit.
    """
    layers = layers_by_batch(model, layer_modes)
    with with_statistics(model, statistics, eps):
        if layers:
            logits = _by_batch(model, images, batch_size=batch_size, order=order, layers=layers)
        else:
            logits = forward(model, images, mode="eval", batch_size=EVAL_CHUNK)
    return logits.float().cpu().numpy()


def compare_modes(
    model: nn.Module,
    images: Tensor,
    labels: np.ndarray,
    *,
    batch_size: int,
    order: np.ndarray | None = None,
    **eval_options: Any,
) -> pd.DataFrame:
    """The same uint8 `images` (N, 28, 28) through both modes: one row an image, as `paired` has it.

    In train mode they stand in batches of `batch_size` in the given `order` (theirs).
    `eval_options` are eps, statistics and layer_modes of `eval_side`. The model is put back as it
    was. Raises ConfigError as `eval_side`, and for a batch of one.
    """
    order = np.arange(len(images)) if order is None else order
    train = train_side(model, images, batch_size=batch_size, order=order)
    evaluation = eval_side(model, images, batch_size=batch_size, order=order, **eval_options)
    return paired(train, evaluation, labels)


def paired(train: np.ndarray, evaluation: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    """One row an image from the logits (N, 10) of both sides.

    Columns: label, train_prediction, eval_prediction (classes 0 to 9), train_probability,
    eval_probability (of the predicted class), train_true, eval_true (of the right class, 0 to 1),
    train_right, eval_right, differ, and logit_difference, the largest over the classes.
    """
    rows = np.arange(len(labels))
    frame = pd.DataFrame({"label": labels})
    for side, logits in (("train", train), ("eval", evaluation)):
        probability = torch.from_numpy(logits).softmax(1).numpy()
        frame[f"{side}_prediction"] = probability.argmax(1)
        frame[f"{side}_probability"] = probability.max(1)
        frame[f"{side}_true"] = probability[rows, labels]
        frame[f"{side}_right"] = frame[f"{side}_prediction"] == labels
    return frame.assign(
        differ=frame["train_prediction"] != frame["eval_prediction"],
        logit_difference=np.abs(train - evaluation).max(1),
    )


PAIRS = ("both", "only_train", "only_eval", "none")


def paired_counts(frame: pd.DataFrame) -> dict[str, int]:
    """How many images of a `paired` frame both, only one or none of the modes gets right, by PAIRS."""
    train, evaluation = frame["train_right"], frame["eval_right"]
    masks = (train & evaluation, train & ~evaluation, evaluation & ~train, ~train & ~evaluation)
    return {name: int(mask.sum()) for name, mask in zip(PAIRS, masks, strict=True)}


@torch.no_grad()
def layer_drift(
    model: Any,
    images: Tensor,
    *,
    batch_size: int,
    eps: float | None = None,
    statistics: Statistics | None = None,
    layer_modes: Mapping[str, str] | None = None,
    order: np.ndarray | None = None,
) -> pd.DataFrame:
    """How far each channel's output in train mode is from that in eval mode, through the network.

    Both modes see the same uint8 `images` (N, 28, 28), train mode in batches of `batch_size` in
    the given `order` (theirs); `eps`, `statistics` and `layer_modes` act on the eval side, as in
    `eval_side`. One row a channel: layer, channel; drift, the root mean square of the difference
    of what leaves the norm layer, in standard deviations of what leaves it in eval mode; and the
    statistics of what enters it in train mode, batch_mean and batch_var (means over the batches,
    the variance biased), beside those that the eval side normalizes by, running_mean and
    running_var. Differences grow along the network: a layer also gets what the layers before it
    have changed. The model is put back as it was.

    Raises ConfigError for a `batch_size` or a number of images below 2, for a network without BN,
    and as `eval_side`.
    """
    layers = _layers_with_modes(model)
    check_batch(min(batch_size, len(images)))
    by_batch = layers_by_batch(model, layer_modes)
    ordered = images if order is None else images[torch.from_numpy(order)]
    dtype = next(model.parameters()).dtype
    sums = {name: _Difference() for name in layers}
    with restored(model):
        model.eval()
        for where, size in groups_of(len(ordered), batch_size):
            part = to_input(ordered[where], dtype)
            with by_groups(model, size), capture(layers) as train:
                model(part)
            with (
                with_statistics(model, statistics, eps),
                by_groups(model, size, by_batch),
                capture(layers) as evaluation,
            ):
                model(part)
                running = {name: get_statistics(layer) for name, layer in layers.items()}
            for name, total in sums.items():
                total.add(train.inputs[name], train.outputs[name], evaluation.outputs[name], size)
    frames = [total.frame(name, running[name]) for name, total in sums.items()]
    return pd.concat(frames, ignore_index=True)


def _layers_with_modes(model: Any) -> dict[str, nn.Module]:
    """The norm layers of a model. Raises ConfigError for a network without BN."""
    layers: dict[str, nn.Module] = model.norm_layers()
    if any(get_statistics(layer) is None for layer in layers.values()):
        raise ConfigError(
            _(
                "model: got norm {norm!r}, which has no modes to compare; allowed: one with BN."
            ).format(norm=model.norm)
        )
    return layers


class _Difference:
    """Sums over stretches of images, by channel, of what `layer_drift` needs."""

    def __init__(self) -> None:
        self._count = self._batches = 0
        self._sums: np.ndarray | None = None

    def add(self, x: Tensor, train: Tensor, evaluation: Tensor, size: int) -> None:
        """What enters a layer in train mode, and what leaves it in both modes, (N, C, ...).

        The images stand in batches of `size`.
        """
        mean, var, _centred = moments_by_group(x, size)
        middle, spread, _centred = moments_by_group(evaluation, len(evaluation))
        dims = [0, *range(2, x.dim())]
        count = x.numel() // x.shape[1]
        parts = (
            count * (train - evaluation).square().mean(dims).double(),
            count * middle.flatten().double(),
            count * (spread.double() + middle.double().square()).flatten(),
            mean.flatten(1).double().sum(0),
            var.flatten(1).double().sum(0),
        )
        new = torch.stack(parts).cpu().numpy()
        self._sums = new if self._sums is None else self._sums + new
        self._count += count
        self._batches += len(mean)

    def frame(self, layer: str, running: tuple[Tensor, Tensor] | None) -> pd.DataFrame:
        """One row a channel."""
        assert self._sums is not None and running is not None
        difference, total, squares = self._sums[:3] / self._count
        mean, var = self._sums[3:] / self._batches
        spread = np.sqrt(np.maximum(squares - total**2, 0))
        with np.errstate(divide="ignore", invalid="ignore"):
            drift = np.where(difference > 0, np.sqrt(difference) / spread, 0.0)
        running_mean, running_var = (v.double().cpu().numpy() for v in running)
        return pd.DataFrame(
            {
                "layer": layer,
                "channel": np.arange(len(drift)),
                "drift": drift,
                "batch_mean": mean,
                "batch_var": var,
                "running_mean": running_mean,
                "running_var": running_var,
            }
        )
