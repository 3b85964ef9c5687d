"""Forward passes of a model in either mode that leave it as it was, or say that they do not.

In train mode an image's answer depends on its batch. Many small batches need no pass each: `by_groups`
lets the norm layers treat consecutive images as batches of their own, so that they go through the
network together.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bnviz.errors import ConfigError, check_choice
from bnviz.i18n import _
from bnviz.instrument.capture import ForwardHook, hooked
from bnviz.nn.state import affine, restored, set_statistics
from bnviz.nn.state import statistics as get_statistics

EVAL_CHUNK = 1000  # images at once in eval mode, where the batch does not matter

Statistics = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""Mean and variance of shape (C,) by the names of `LeNet.norm_layers`."""


@dataclass(frozen=True)
class Evaluation:
    """Logits of shape (N, 10) with what follows from them."""

    logits: Tensor
    loss: float
    """Mean cross-entropy in nats."""
    accuracy: float
    """Share of right answers, 0 to 1."""

    @property
    def standard_error(self) -> float:
        """Standard error of the accuracy, sqrt(p (1 - p) / N)."""
        return standard_error(self.accuracy, len(self.logits))


def standard_error(accuracy: float, images: int) -> float:
    """Standard error of a share of right answers among `images` independent ones."""
    return float(np.sqrt(accuracy * (1 - accuracy) / max(images, 1)))


def to_input(images: Tensor, dtype: torch.dtype) -> Tensor:
    """uint8 images (N, 28, 28) as network input (N, 1, 28, 28) from 0 to 1."""
    return images.to(dtype).div_(255).unsqueeze_(1)


@torch.no_grad()
def forward(model: nn.Module, images: Tensor, *, mode: str, batch_size: int) -> Tensor:
    """Logits (N, 10) of uint8 `images` (N, 28, 28) in ``train`` or ``eval`` mode.

    In train mode the images stand in batches of `batch_size` in the given order and a last batch
    of one image joins the batch before it. This moves the running statistics: pass a model that
    may be changed. The training flags are put back, also on failure.

    Raises ConfigError for a train-mode batch of one image.
    """
    if mode == "train":
        check_batch(min(batch_size, len(images)))
    parts = list(images.split(batch_size if mode == "train" else EVAL_CHUNK))
    if mode == "train" and len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    flags = {module: module.training for module in model.modules()}
    dtype = next(model.parameters()).dtype
    model.train(mode == "train")
    try:
        return torch.cat([model(to_input(part, dtype)) for part in parts])
    finally:
        for module, training in flags.items():
            module.training = training


LAYER_MODES = ("batch", "running")


def layers_by_batch(model: Any, layer_modes: Mapping[str, str] | None) -> list[str]:
    """The layers that `layer_modes` lets normalize by the batch.

    It maps names of `LeNet.norm_layers` to ``batch`` or ``running``; layers without an entry use
    their running statistics. Raises ConfigError for another layer or mode.
    """
    for name, mode in (layer_modes or {}).items():
        check_choice("layer", name, model.norm_layers())
        check_choice("layer_modes", mode, LAYER_MODES)
    return [name for name, mode in (layer_modes or {}).items() if mode == "batch"]


def evaluate(
    model: nn.Module, images: Tensor, labels: Tensor, *, mode: str, batch_size: int
) -> Evaluation:
    """Loss and accuracy of `model` on uint8 `images` with int64 `labels`; see `forward`."""
    logits = forward(model, images, mode=mode, batch_size=batch_size)
    return Evaluation(
        logits,
        F.cross_entropy(logits.float(), labels).item(),
        (logits.argmax(1) == labels).float().mean().item(),
    )


def running_statistics(model: Any) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Running mean and variance (C,) of each norm layer of a model that has some: float64, copied."""
    result = {}
    for name, layer in model.norm_layers().items():
        own = get_statistics(layer)
        assert own is not None
        mean, var = (value.double().cpu().numpy().copy() for value in own)
        result[name] = (mean, var)
    return result


@contextmanager
def with_statistics(
    model: nn.Module, statistics: Statistics | None, eps: float | None = None
) -> Iterator[None]:
    """While it lasts `model` has other running statistics or another eps; None leaves its own.

    Layers without running statistics keep out of it. The model is put back as it was, also on
    failure. Raises ConfigError when a layer's statistics are missing or of another shape.
    """
    layers: dict[str, Any] = model.norm_layers()  # type: ignore[operator]
    with restored(model):
        for name, layer in layers.items():
            if statistics is not None and get_statistics(layer) is not None:
                _overwrite(name, layer, statistics)
            if eps is not None and hasattr(layer, "eps"):
                layer.eps = eps
        yield


def _overwrite(name: str, layer: nn.Module, statistics: Statistics) -> None:
    """Give `layer` the entry `name` of `statistics`, if it is a mean and a variance for it."""
    own = get_statistics(layer)
    assert own is not None
    given = [torch.tensor(array) for array in statistics.get(name, ())]
    if [tensor.shape for tensor in given] != [tensor.shape for tensor in own]:
        raise ConfigError(
            _(
                "statistics: got shapes {shapes} for the layer {name}; allowed: a mean and a "
                "variance of shape ({channels},)."
            ).format(
                shapes=[tuple(tensor.shape) for tensor in given], name=name, channels=len(own[0])
            )
        )
    set_statistics(layer, *given)


def by_groups(
    model: Any, size: int, layers: Collection[str] | None = None
) -> AbstractContextManager[None]:
    """While it lasts the norm layers normalize each `size` consecutive images by their own statistics.

    As each does in train mode on a batch of `size` (at least 2), but without writing its running
    statistics. `layers` are names of `LeNet.norm_layers`, None for all; the model is to be in eval
    mode. What goes through it must be a multiple of `size` images. Layers without running
    statistics keep out of it.
    """

    chosen = {
        name: layer
        for name, layer in model.norm_layers().items()
        if get_statistics(layer) is not None and (layers is None or name in layers)
    }
    return hooked(chosen.items(), _ByGroups(chosen, size))


class _ByGroups(ForwardHook):
    """Puts in the place of a layer's output what it would be in groups of `size`."""

    def __init__(self, layers: Mapping[str, nn.Module], size: int):
        self._layers, self._size = layers, size

    def after(self, layer: str, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """The output of `layer` by groups."""
        return _normalized_by_groups(self._layers[layer], inputs[0], self._size)


def _normalized_by_groups(layer: Any, x: Tensor, size: int) -> Tensor:
    """`x` (N, C, ...) normalized in groups of `size` by their mean and biased variance, then affine."""
    _mean, var, centred = moments_by_group(x, size)
    weight, bias = (v.reshape(-1, *[1] * (x.dim() - 2)) for v in _affine_of(layer, x))
    scale = weight * torch.rsqrt(var + layer.eps)
    return torch.addcmul(bias, centred, scale).flatten(0, 1)


def moments_by_group(x: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and biased variance (G, 1, C, ...) of each group, and `x` less its mean (G, size, C, ...).

    `x` (N, C, ...) has N / size = G groups of consecutive rows. (`torch.var_mean` says the same and
    took six times as long over dimensions that do not lie together.)
    """
    groups = x.unflatten(0, (-1, size))
    within = [1, *range(3, groups.dim())]
    mean = groups.mean(within, keepdim=True)
    centred = groups - mean
    return mean, centred.square().mean(within, keepdim=True), centred


def _affine_of(layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Weight and bias (C,) of a norm layer, 1 and 0 where it has none."""
    return affine(layer) or (x.new_ones(x.shape[1]), x.new_zeros(x.shape[1]))


def groups_of(images: int, size: int) -> Iterator[tuple[slice, int]]:
    """Stretches of so many images that can go through `by_groups` at once, with their group's size.

    Groups of `size` in order, some EVAL_CHUNK images a stretch; the rest is a smaller group, and a
    rest of one image joins the group before it, as in `forward`.
    """
    whole, rest = divmod(images, size)
    if rest == 1 and whole:
        whole, rest = whole - 1, size + 1
    at_once = max(EVAL_CHUNK // size, 1)
    for first in range(0, whole, at_once):
        yield slice(first * size, min(first + at_once, whole) * size), size
    if rest:
        yield slice(whole * size, whole * size + rest), rest


@torch.no_grad()
def logits_by_groups(
    model: Any, images: Tensor, *, batch_size: int, layers: Collection[str] | None = None
) -> Tensor:
    """Logits (N, 10) of uint8 `images` (N, 28, 28), in which `layers` (all) normalize by the batch.

    The batches are `batch_size` images in their order; the other layers use their running
    statistics. The model is put back as it was. Raises ConfigError for a batch of one image.
    """
    check_batch(min(batch_size, len(images)))
    dtype = next(model.parameters()).dtype
    parts = []
    with restored(model):
        model.eval()
        for where, size in groups_of(len(images), batch_size):
            with by_groups(model, size, layers):
                parts.append(model(to_input(images[where], dtype)))
    return torch.cat(parts)


def check_batch(images: int) -> None:
    """Refuse a batch of one image, which cannot be normalized by itself. Raises ConfigError."""
    if images < 2:
        raise ConfigError(
            _(
                "batch_size: got {got} in train mode, where a fully connected layer then has one "
                "value per channel and nothing to normalize by; allowed: 2 or more."
            ).format(got=images)
        )
