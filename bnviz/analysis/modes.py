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
def forward(
    model: nn.Module,
    images: Tensor,
    *,
    mode: str,
    batch_size: int,
    layer_modes: Mapping[str, str] | None = None,
) -> Tensor:
    """Logits (N, 10) of uint8 `images` (N, 28, 28) in ``train`` or ``eval`` mode.

    In train mode the images keep company in batches of `batch_size` in the given order and a
    last batch of one image joins the batch before it. This moves the running statistics: pass a
    model that may be changed. The training flags are put back, also on failure.

    `layer_modes` gives single norm layers another mode, by the names of `LeNet.norm_layers`:
    ``batch`` normalizes by the batch, as in train mode, ``running`` by the running statistics.

    Raises ConfigError for a train-mode batch of one image and for another layer or mode.
    """
    layers = _layers_by_mode(model, layer_modes or {})
    by_batch = mode == "train" or any(layers.values())
    if by_batch and min(batch_size, len(images)) < 2:
        raise ConfigError(
            _(
                "batch_size: got {got} in train mode, where a fully connected layer then has one "
                "value per channel and nothing to normalize by; allowed: 2 or more."
            ).format(got=min(batch_size, len(images)))
        )
    dtype = next(model.parameters()).dtype
    parts = list(images.split(batch_size if by_batch else EVAL_CHUNK))
    if by_batch and len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    flags = {module: module.training for module in model.modules()}
    model.train(mode == "train")
    for layer, by_its_batch in layers.items():
        layer.train(by_its_batch)
    try:
        return torch.cat([model(to_input(part, dtype)) for part in parts])
    finally:
        for module, training in flags.items():
            module.training = training


LAYER_MODES = ("batch", "running")


def _layers_by_mode(model: Any, layer_modes: Mapping[str, str]) -> dict[nn.Module, bool]:
    """Norm layer to whether it normalizes by the batch, for those that `layer_modes` names."""
    known = model.norm_layers() if layer_modes else {}
    for name, mode in layer_modes.items():
        for what, value, allowed in (
            ("layer", name, list(known)),
            ("layer_modes", mode, LAYER_MODES),
        ):
            if value not in allowed:
                raise ConfigError(
                    _("{what}: got {value!r}; allowed: {allowed}.").format(
                        what=what, value=value, allowed=", ".join(allowed)
                    )
                )
    return {known[name]: mode == "batch" for name, mode in layer_modes.items()}


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
    layer_modes: Mapping[str, str] | None = None,
    batch_size: int = EVAL_CHUNK,
) -> np.ndarray:
    """Probabilities (N, 10) in eval mode, with other running statistics or another eps if given.

    `statistics` maps the names of `LeNet.norm_layers` to mean and variance of shape (C,).
    `layer_modes` lets single layers normalize by batches of `batch_size`, see `forward`. The model
    is put back as it was.
    """
    with changed(model, statistics, eps):
        logits = forward(model, images, mode="eval", batch_size=batch_size, layer_modes=layer_modes)
    return logits.softmax(1).float().numpy()


def compare_modes(
    model: nn.Module,
    images: Tensor,
    labels: np.ndarray,
    *,
    batch_size: int,
    eps: float | None = None,
    statistics: Statistics | None = None,
    layer_modes: Mapping[str, str] | None = None,
    order: np.ndarray | None = None,
) -> pd.DataFrame:
    """The same uint8 `images` (N, 28, 28) through both modes: one row an image, as `paired` has it.

    In train mode they stand in batches of `batch_size` in the given `order` (theirs). `eps`,
    `statistics` and `layer_modes` act on the eval side, as in `eval_side`. The model is put back as
    it was. Raises ConfigError as `forward` and `changed`.
    """
    with put_back(model):
        train = train_side(
            model,
            images,
            batch_size=batch_size,
            order=np.arange(len(images)) if order is None else order,
        )
    evaluation = eval_side(
        model,
        images,
        statistics=statistics,
        eps=eps,
        layer_modes=layer_modes,
        batch_size=batch_size,
    )
    return paired(train, evaluation, labels)


def paired(train: np.ndarray, evaluation: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
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


@torch.no_grad()
def layer_drift(model: Any, images: Tensor, *, batch_size: int) -> pd.DataFrame:
    """How far each channel's output in train mode is from that in eval mode, through the network.

    Both modes see the same uint8 `images` (N, 28, 28), train mode in batches of `batch_size` in
    their order. One row a channel: layer, channel; drift, the root mean square of the difference
    of what leaves the norm layer, in standard deviations of what leaves it in eval mode; and the
    statistics of what enters it, batch_mean and batch_var (means over the batches, the variance
    biased) beside running_mean and running_var. Differences grow along the network: a layer also
    gets what the layers before it have changed. The model is put back as it was.

    Raises ConfigError for a `batch_size` or a number of images below 2, and for a network without
    BN.
    """
    layers: dict[str, nn.Module] = model.norm_layers()
    if any(get_statistics(layer) is None for layer in layers.values()):
        raise ConfigError(
            _(
                "model: got norm {norm!r}, which has no modes to compare; allowed: one with BN."
            ).format(norm=model.norm)
        )
    if min(batch_size, len(images)) < 2:
        raise ConfigError(
            _("batch_size: got {got}; allowed: 2 or more, which normalize each other.").format(
                got=min(batch_size, len(images))
            )
        )
    sums = {name: _Difference() for name in layers}
    caught: dict[str, tuple[Tensor, Tensor]] = {}

    def catching(name: str) -> Any:
        return lambda _layer, inputs, output: caught.__setitem__(name, (inputs[0], output))

    own = {name: get_statistics(layer) for name, layer in layers.items()}
    running = {name: [v.double().cpu().numpy() for v in both] for name, both in own.items() if both}
    handles = [layer.register_forward_hook(catching(name)) for name, layer in layers.items()]
    try:
        for part in images.split(batch_size):
            if len(part) < 2:  # train mode cannot normalize one image
                continue
            forward(model, part, mode="eval", batch_size=len(part))
            evaluated = {name: output for name, (_x, output) in caught.items()}
            with put_back(model):
                forward(model, part, mode="train", batch_size=len(part))
            for name, total in sums.items():
                total.add(*caught[name], evaluated[name])
    finally:
        for handle in handles:
            handle.remove()
    return pd.concat(
        [total.frame(name, *running[name]) for name, total in sums.items()], ignore_index=True
    )


class _Difference:
    """Sums over batches, by channel, of what `layer_drift` needs."""

    def __init__(self) -> None:
        self._count = self._batches = 0
        self._sums: np.ndarray | None = None

    def add(self, x: Tensor, train: Tensor, evaluation: Tensor) -> None:
        """What enters a layer in train mode, and what leaves it in both modes, (N, C, ...)."""
        dims = [dim for dim in range(x.dim()) if dim != 1]
        x, train, evaluation = (v.double() for v in (x, train, evaluation))
        var, mean = torch.var_mean(x, dims, correction=0)
        parts = ((train - evaluation).square().sum(dims), evaluation.sum(dims),
                 evaluation.square().sum(dims), mean, var)  # fmt: skip
        new = torch.stack(parts).cpu().numpy()
        self._sums = new if self._sums is None else self._sums + new
        self._count += x.numel() // x.shape[1]
        self._batches += 1

    def frame(self, layer: str, running_mean: np.ndarray, running_var: np.ndarray) -> pd.DataFrame:
        """One row a channel."""
        assert self._sums is not None
        difference, total, squares = self._sums[:3] / self._count
        mean, var = self._sums[3:] / self._batches
        spread = np.sqrt(np.maximum(squares - total**2, 0))
        with np.errstate(divide="ignore", invalid="ignore"):
            drift = np.where(difference > 0, np.sqrt(difference) / spread, 0.0)
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
