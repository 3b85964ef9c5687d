"""Batch Normalization taken apart on a few cells: each step forward, each path back, each way to group.

Ioffe & Szegedy 2015 (https://arxiv.org/abs/1502.03167): Algorithm 1 for the forward pass, section 3
for the chain rule. Everything is worked out in float64 with numpy, one line for each equation, and
`autograd_gradients` gives torch's numbers to put beside. Cells are (N, C) behind a fully connected
layer and (N, C, H, W) behind a convolution; a channel of (N, C) is what the note calls a feature.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from bnviz.errors import ConfigError, check_choice
from bnviz.i18n import _


@dataclass(frozen=True)
class Forward:
    """Every number of a forward pass in train mode.

    `x`, `centred`, `x_hat` and `y` have the shape of the cells, the others (C,).
    """

    x: np.ndarray
    gamma: np.ndarray
    beta: np.ndarray
    eps: float
    mean: np.ndarray
    centred: np.ndarray
    var: np.ndarray
    """Biased: the mean of the squares, not their sum over n - 1."""
    rstd: np.ndarray
    """1 / sqrt(var + eps)."""
    x_hat: np.ndarray
    y: np.ndarray

    @property
    def count(self) -> int:
        """How many cells share one mean."""
        return self.x.size // self.x.shape[1]


@dataclass(frozen=True)
class Backward:
    """Every number of a backward pass: `dbeta`, `dgamma`, `dvar` and `dmean` (C,), else like the cells.

    `through_x_hat`, `through_var` and `through_mean` are the three ways on which a cell reaches the
    loss; their sum is `dx`, and `closed` is the same in one formula.
    """

    dbeta: np.ndarray
    dgamma: np.ndarray
    dx_hat: np.ndarray
    dvar: np.ndarray
    dmean: np.ndarray
    through_x_hat: np.ndarray
    through_var: np.ndarray
    through_mean: np.ndarray
    dx: np.ndarray
    closed: np.ndarray


@dataclass(frozen=True)
class Autograd:
    """What torch makes of the same cells: `y` and `dx` like the cells, `dgamma` and `dbeta` (C,)."""

    y: np.ndarray
    dx: np.ndarray
    dgamma: np.ndarray
    dbeta: np.ndarray


def forward(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, eps: float) -> Forward:
    """Algorithm 1 of the paper for cells `x` (N, C) or (N, C, H, W), `gamma` and `beta` (C,).

    Raises ConfigError for other shapes, numbers that are not finite, an eps that is not above 0 and
    for a single cell per channel, which no mean can be taken off without taking everything.
    """
    x, gamma, beta = (np.asarray(part, np.float64) for part in (x, gamma, beta))
    _check(x, gamma, beta, eps)
    over = _over(x)
    mean = x.mean(over)
    centred = x - _beside(mean, x)
    var = (centred**2).mean(over)
    rstd = 1 / np.sqrt(var + eps)
    x_hat = centred * _beside(rstd, x)
    y = _beside(gamma, x) * x_hat + _beside(beta, x)
    return Forward(x, gamma, beta, float(eps), mean, centred, var, rstd, x_hat, y)


def backward(done: Forward, grad: np.ndarray) -> Backward:
    """The chain rule of section 3 for `grad`, dL/dy in the shape of the cells.

    Raises ConfigError for another shape and for numbers that are not finite.
    """
    grad = np.asarray(grad, np.float64)
    if grad.shape != done.x.shape or not np.isfinite(grad).all():
        raise ConfigError(
            _("gradient: got shape {got}; allowed: finite numbers of shape {shape}.").format(
                got=grad.shape, shape=done.x.shape
            )
        )
    x, over, n = done.x, _over(done.x), done.count
    centred, rstd, x_hat = done.centred, done.rstd, done.x_hat

    dbeta = grad.sum(over)
    dgamma = (grad * x_hat).sum(over)
    dx_hat = grad * _beside(done.gamma, x)
    dvar = (dx_hat * centred).sum(over) * -0.5 * rstd**3
    dmean = -dx_hat.sum(over) * rstd - 2 * dvar * centred.mean(over)

    through_x_hat = dx_hat * _beside(rstd, x)
    through_var = _beside(dvar, x) * 2 * centred / n
    through_mean = np.broadcast_to(_beside(dmean, x) / n, x.shape)
    dx = through_x_hat + through_var + through_mean

    closed = grad - _beside(dbeta / n, x) - x_hat * _beside(dgamma / n, x)
    closed = closed * _beside(done.gamma * rstd, x)
    return Backward(
        dbeta, dgamma, dx_hat, dvar, dmean,
        through_x_hat, through_var, through_mean, dx, closed,
    )  # fmt: skip


def autograd_gradients(
    x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, eps: float, grad: np.ndarray
) -> Autograd:
    """`torch.nn.functional.batch_norm` in float64 on the same cells, and what autograd derives.

    Raises ConfigError with torch's own words where torch refuses.
    """
    cells, weight, bias = (
        torch.tensor(part, dtype=torch.float64, requires_grad=True) for part in (x, gamma, beta)
    )
    try:
        y = F.batch_norm(cells, None, None, weight, bias, training=True, eps=eps)
    except (ValueError, RuntimeError) as error:
        raise ConfigError(_("torch refuses: {error}").format(error=error)) from error
    dx, dgamma, dbeta = torch.autograd.grad(
        y, (cells, weight, bias), torch.tensor(grad, dtype=torch.float64)
    )
    return Autograd(y.detach().numpy(), dx.numpy(), dgamma.numpy(), dbeta.numpy())


def torch_refusal(shape: Sequence[int]) -> str:
    """What `torch.nn.functional.batch_norm` says to cells of that shape in train mode; '' if it takes them."""
    try:
        F.batch_norm(torch.zeros(tuple(shape)), None, None, training=True)
    except ValueError as error:
        return str(error)
    return ""


SCHEMES = ("batch", "sample", "position", "all", "instance", "group")


def groups(shape: Sequence[int], scheme: str, group_count: int = 2) -> np.ndarray:
    """Which cells share one mean: an int array of `shape`, equal numbers for equal means, from 0 up.

    ``batch``: all of a channel (Batch Normalization). ``sample``: all of a sample (layer
    normalization, https://arxiv.org/abs/1607.06450). ``position``: each place of the feature map by
    itself, over the batch, as if the output of a convolution were that of a fully connected layer.
    ``all``: everything. ``instance``: a channel of one sample (https://arxiv.org/abs/1607.08022).
    ``group``: `group_count` groups of neighbouring channels of one sample
    (https://arxiv.org/abs/1803.08494).

    Raises ConfigError for another scheme or shape and for groups that do not divide the channels.
    """
    check_choice("scheme", scheme, SCHEMES)
    if len(shape) not in (2, 4):
        raise ConfigError(
            _("shape: got {shape}; allowed: (N, C) or (N, C, H, W).").format(shape=tuple(shape))
        )
    channels, height, width = (*shape, 1, 1)[1:4]
    n, c, h, w = np.indices((shape[0], channels, height, width))
    if scheme == "group" and (group_count < 1 or channels % group_count):
        raise ConfigError(
            _("groups: got {got}; allowed: numbers that divide the {channels} channels.").format(
                got=group_count, channels=channels
            )
        )
    numbers = {
        "batch": c,
        "sample": n,
        "position": (c * height + h) * width + w,
        "all": np.zeros_like(n),
        "instance": n * channels + c,
        "group": n * group_count + c * group_count // channels,
    }
    return numbers[scheme].reshape(shape)


def normalize_over(x: np.ndarray, shared: np.ndarray, eps: float) -> np.ndarray:
    """x with the mean of its group taken off and divided by sqrt(variance + eps); same shape.

    `shared` is what `groups` returns. A cell that shares its mean with no other becomes 0.
    """
    x = np.asarray(x, np.float64)
    flat, index = x.ravel(), shared.ravel()
    count = np.bincount(index)
    centred = flat - (np.bincount(index, flat) / count)[index]
    var = np.bincount(index, centred**2) / count
    return (centred / np.sqrt(var + eps)[index]).reshape(x.shape)


def constant_channels(x: np.ndarray) -> list[int]:
    """Numbers of the channels of (N, C, ...) all of whose cells are equal."""
    return np.flatnonzero(x.max(_over(x)) == x.min(_over(x))).tolist()


def _over(x: np.ndarray) -> tuple[int, ...]:
    """All axes but that of the channels."""
    return tuple(axis for axis in range(x.ndim) if axis != 1)


def _beside(vector: np.ndarray, x: np.ndarray) -> np.ndarray:
    """`vector` (C,) in the shape that goes with the cells: (C,) or (C, 1, 1)."""
    return vector.reshape(-1, *[1] * (x.ndim - 2))


def _check(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, eps: float) -> None:
    if x.ndim not in (2, 4) or not x.size:
        raise ConfigError(
            _("cells: got shape {shape}; allowed: (N, C) or (N, C, H, W).").format(shape=x.shape)
        )
    for name, part in (("cells", x), ("gamma", gamma), ("beta", beta)):
        if not np.isfinite(part).all():
            raise ConfigError(_("{name}: allowed: finite numbers.").format(name=name))
    for name, part in (("gamma", gamma), ("beta", beta)):
        if part.shape != (x.shape[1],):
            raise ConfigError(
                _(
                    "{name}: got shape {got}; allowed: one number for each of {channels} channels."
                ).format(name=name, got=part.shape, channels=x.shape[1])
            )
    if not eps > 0:
        raise ConfigError(_("eps: got {eps}; allowed: above 0.").format(eps=eps))
    if x.size == x.shape[1]:
        raise ConfigError(
            _(
                "Only one value per channel: it is its own mean, so x − μ is 0 whatever it was, and "
                "nothing is left to normalize. torch says: “{torch}”. Take a larger batch (or more "
                "positions)."
            ).format(torch=torch_refusal(x.shape))
        )
