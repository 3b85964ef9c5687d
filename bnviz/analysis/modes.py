"""Train mode against eval mode: the same images through the same weights both ways."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bnviz.errors import ConfigError
from bnviz.i18n import _
from bnviz.nn.state import put_back, set_statistics
from bnviz.nn.state import statistics as get_statistics

EVAL_CHUNK = 1000  # images at once in eval mode, where the company does not matter

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

    In train mode the images keep company in batches of `batch_size` in the given order and a
    last batch of one image joins the batch before it. This moves the running statistics: pass a
    model that may be changed. The training flag is put back, also on failure.

    Raises ConfigError for a train-mode batch of one image.
    """
    if mode == "train" and min(batch_size, len(images)) < 2:
        raise ConfigError(
            _(
                "batch_size: got {got} in train mode, where a fully connected layer then has one "
                "value per channel and nothing to normalize by; allowed: 2 or more."
            ).format(got=min(batch_size, len(images)))
        )
    dtype = next(model.parameters()).dtype
    parts = list(images.split(batch_size if mode == "train" else EVAL_CHUNK))
    if mode == "train" and len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    was_training = model.training
    model.train(mode == "train")
    try:
        return torch.cat([model(to_input(part, dtype)) for part in parts])
    finally:
        model.train(was_training)


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


NEIGHBOURS = ("shuffled", "as they come", "same class")


def company(labels: np.ndarray, neighbours: str, seed: int = 0) -> np.ndarray:
    """An order of the images: those that stand together share a batch in train mode.

    ``shuffled`` is a fixed permutation, ``as they come`` leaves the order, ``same class`` puts each
    class together. Raises ConfigError for another word.
    """
    if neighbours == "as they come":
        return np.arange(len(labels))
    order = np.random.default_rng(seed).permutation(len(labels))
    if neighbours == "shuffled":
        return order
    if neighbours == "same class":
        return order[np.argsort(labels[order], kind="stable")]
    raise ConfigError(
        _("neighbours: got {value!r}; allowed: {allowed}.").format(
            value=neighbours, allowed=", ".join(NEIGHBOURS)
        )
    )


KINDS = ("random", "same class", "another class")


def neighbours_of(
    labels: np.ndarray, image: int, *, kind: str, count: int, seed: int = 0
) -> np.ndarray:
    """`count` other images (count,) to stand in a batch with `image`, drawn by `seed`.

    ``random`` takes any, ``same class`` those of its class, ``another class`` those of one class
    that is not its own. Where there are too few, some stand there more than once. Raises
    ConfigError for another kind, an image that does not exist and a class without a second image.
    """
    if kind not in KINDS:
        raise ConfigError(
            _("neighbours: got {value!r}; allowed: {allowed}.").format(
                value=kind, allowed=", ".join(KINDS)
            )
        )
    if not 0 <= image < len(labels):
        raise ConfigError(
            _("image: got {value}; allowed: 0 to {last}.").format(value=image, last=len(labels) - 1)
        )
    rng = np.random.default_rng([seed, image])
    others = np.delete(np.arange(len(labels)), image)
    if kind == "same class":
        others = others[labels[others] == labels[image]]
    elif kind == "another class":
        classes = np.unique(labels[labels != labels[image]])
        others = others[labels[others] == rng.choice(classes)] if len(classes) else others[:0]
    if not len(others):
        raise ConfigError(
            _(
                "neighbours: there is no {kind} image beside image {image}; take random ones."
            ).format(kind=kind, image=image)
        )
    return rng.choice(others, count, replace=len(others) < count)


def train_side(
    model: nn.Module, images: Tensor, *, batch_size: int, order: np.ndarray
) -> np.ndarray:
    """Probabilities (N, 10) in train mode, each image in the company that `order` gives it.

    Moves the running statistics of `model`, as train mode does: pass one that may be changed.
    """
    index = torch.from_numpy(order)
    logits = forward(model, images[index], mode="train", batch_size=batch_size)
    result = torch.empty_like(logits)
    result[index] = logits
    return result.softmax(1).float().numpy()


@contextmanager
def changed(
    model: nn.Module, statistics: Statistics | None, eps: float | None = None
) -> Iterator[None]:
    """While it lasts `model` has other running statistics or another eps; None leaves its own.

    Layers without running statistics keep out of it. The model is put back as it was, also on
    failure. Raises ConfigError when a layer's statistics are missing or of another shape.
    """
    layers: dict[str, Any] = model.norm_layers()  # type: ignore[operator]
    with put_back(model):
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


def eval_side(
    model: nn.Module,
    images: Tensor,
    *,
    statistics: Statistics | None = None,
    eps: float | None = None,
) -> np.ndarray:
    """Probabilities (N, 10) in eval mode, with other running statistics or another eps if given.

    `statistics` maps the names of `LeNet.norm_layers` to mean and variance of shape (C,). The
    model is put back as it was.
    """
    with changed(model, statistics, eps):
        return forward(model, images, mode="eval", batch_size=1).softmax(1).float().numpy()


def compare_modes(train: np.ndarray, evaluation: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    """One row an image from the probabilities (N, 10) of both sides.

    Columns: label, train_prediction, eval_prediction (classes 0 to 9), train_probability,
    eval_probability (of the predicted class), train_true, eval_true (of the right class, 0 to 1),
    train_right, eval_right, differ.
    """
    rows = np.arange(len(labels))
    frame = pd.DataFrame({"label": labels})
    for side, probability in (("train", train), ("eval", evaluation)):
        frame[f"{side}_prediction"] = probability.argmax(1)
        frame[f"{side}_probability"] = probability.max(1)
        frame[f"{side}_true"] = probability[rows, labels]
        frame[f"{side}_right"] = frame[f"{side}_prediction"] == labels
    return frame.assign(differ=frame["train_prediction"] != frame["eval_prediction"])
