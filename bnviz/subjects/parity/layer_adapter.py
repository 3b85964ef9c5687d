"""A normalization layer under test: how to build it, and where it keeps weights and statistics.

Nothing here reads source code. A layer is built, run and looked at as anyone who uses it could.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from bnviz.errors import ConfigError
from bnviz.i18n import N_, _
from bnviz.nn.state import STATISTICS

DIMS = (2, 3, 4)
TORCH = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}
"""The reference by number of dimensions, where the reader names none."""
SMALL = {2: (5, 3), 3: (4, 3, 5), 4: (4, 3, 5, 6)}
"""Shapes (N, C, ...) to try a layer on: all sizes differ, so that mixing up axes shows."""
STYLES = (N_("(num_features)"), N_("(num_features, num_dims)"))
AFFINE_NAMES = (("weight", "bias"), ("gamma", "beta"), ("scale", "shift"))
STATISTICS_NAMES = (STATISTICS, ("moving_mean", "moving_var"))


class NotTaken(Exception):
    """A layer cannot be built with these options; the message says what it answered."""


class Subject:
    """A class of layers, built as ``cls(num_features)`` or ``cls(num_features, num_dims)``.

    `num_dims` is that of the note's layer: 2 for (N, C), 4 for (N, C, H, W). Which of the two it
    takes is found by trying.
    """

    def __init__(self, cls: Any):
        self.cls = cls
        self.name: str = getattr(cls, "__name__", str(cls))
        self._style: dict[int, int] = {}
        self._answers: dict[str, str] = {}
        with undisturbed():
            for dims in DIMS:
                for style in range(len(STYLES)):
                    if self._works(dims, style):
                        self._style[dims] = style
                        self._find_statistics(dims)
                        break

    @property
    def dims(self) -> tuple[int, ...]:
        """The numbers of dimensions of inputs that it takes."""
        return tuple(self._style)

    def refuse_if_unfit(self) -> None:
        """Raises ConfigError, naming what was tried, if no input fits."""
        if self._style:
            return
        answers = "; ".join(f"{tried}: {answer}" for tried, answer in self._answers.items())
        raise ConfigError(
            _(
                "class: {name} normalizes no input of 2, 3 or 4 dimensions. Tried {answers}. Give "
                "a class whose constructor takes num_features alone, or num_features and num_dims, "
                "and whose output has the shape of its input."
            ).format(name=self.name, answers=" ".join(answers.split()))
        )

    def build(self, channels: int, dims: int, dtype: str = "float32", **options: Any) -> nn.Module:
        """A new layer for `channels`, parameters and buffers in `dtype`. Raises NotTaken."""
        arguments = (channels, dims)[: 1 + self._style[dims]]
        try:
            return self.cls(*arguments, **options).to(getattr(torch, dtype))
        except Exception as error:  # a reader's constructor may raise anything
            words = ", ".join(f"{name}={value}" for name, value in options.items())
            raise NotTaken(
                _("The constructor does not take {options}.").format(options=words)
            ) from error

    def _works(self, dims: int, style: int) -> bool:
        x = torch.arange(1.0, 1 + torch.Size(SMALL[dims]).numel()).reshape(SMALL[dims])
        try:
            layer = self.cls(*(3, dims)[: 1 + style])
            with torch.no_grad():
                y = layer(x)
        except Exception as error:  # a reader's class may raise anything
            first_line = (str(error) or type(error).__name__).splitlines()[0]
            answer = f"{type(error).__name__}: {first_line}"
        else:
            if isinstance(layer, nn.Module) and isinstance(y, Tensor) and y.shape == x.shape:
                return True
            answer = _("the output has another shape than the input")
        self._answers[f"{self.name}{STYLES[style]}"] = answer
        return False

    def _find_statistics(self, dims: int) -> None:
        """Where names do not say what the running statistics are, see what a step moves.

        The batch lies far from 0 and varies little, so the mean moves further than the variance.
        """
        layer = self.build(3, dims).train()
        if statistics_names(layer) is not None:
            return
        before = {name: value.detach().clone() for name, value in _kept(layer).items()}
        shape = SMALL[dims]
        x = 1000 + torch.randn(shape, generator=torch.Generator().manual_seed(0))
        try:
            with torch.no_grad():
                layer(x)
        except Exception:  # a reader's layer may raise anything; the cases say what
            return
        moved = {
            name: float((value - before[name]).abs().max())
            for name, value in _kept(layer).items()
            if name in before and value.numel() == 3 and value.is_floating_point()
        }
        names = sorted((n for n, d in moved.items() if d > 0), key=lambda n: -moved[n])
        if len(names) == 2:
            _MOVED[type(layer)] = (names[0], names[1])


def common_dims(subject: Subject, reference: Subject | None) -> tuple[int, ...]:
    """The numbers of dimensions that both take; `reference` None stands for torch's layers.

    Raises ConfigError if there are none.
    """
    subject.refuse_if_unfit()
    if reference is None:
        return subject.dims
    reference.refuse_if_unfit()
    found = tuple(dims for dims in subject.dims if dims in reference.dims)
    if not found:
        raise ConfigError(
            _(
                "reference: {reference} takes inputs of {theirs} dimensions, {name} of {ours}. "
                "Give a reference that takes the same."
            ).format(
                reference=reference.name,
                theirs=", ".join(map(str, reference.dims)),
                name=subject.name,
                ours=", ".join(map(str, subject.dims)),
            )
        )
    return found


@contextmanager
def undisturbed() -> Iterator[None]:
    """While it lasts torch may draw random numbers; afterwards its random state is as it was.

    Warnings of the layers under test are not shown: the cases say what came of them.
    """
    with torch.random.fork_rng(devices=[]), torch.enable_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# ---- where a layer keeps what it has ---------------------------------------------------------


def affine_of(layer: nn.Module) -> tuple[nn.Parameter | None, nn.Parameter | None]:
    """The parameters that scale and shift, by their usual names, else the first two there are."""
    for names in AFFINE_NAMES:
        if any(name in layer._parameters for name in names):
            weight, bias = (layer._parameters.get(name) for name in names)
            return weight, bias
    rest = [p for p in layer.parameters() if p.requires_grad][:2]
    weight, bias = (*rest, None, None)[:2]
    return weight, bias


_MOVED: WeakKeyDictionary[type, tuple[str, str]] = WeakKeyDictionary()
"""Class to the names of what a step moves, for classes whose names say nothing."""


def _kept(layer: nn.Module) -> dict[str, Tensor]:
    """The tensors that a layer keeps as attributes, buffers and parameters, by name."""
    kept = {**vars(layer), **layer._buffers, **layer._parameters}
    return {name: value for name, value in kept.items() if isinstance(value, Tensor)}


def statistics_names(layer: nn.Module) -> tuple[str, str] | None:
    """The names of the running mean and variance, or None where there are none.

    Their usual names, else attributes whose names contain ``mean`` and ``var`` (or ``std``) and do
    not speak of the batch, else what a `Subject` of the class has seen move in a step.
    """
    tensors = list(_kept(layer))
    for names in STATISTICS_NAMES:
        if all(name in tensors for name in names):
            return names[0], names[1]
    tensors = [name for name in tensors if "batch" not in name]
    means = [name for name in tensors if "mean" in name]
    variances = [name for name in tensors if "var" in name or "std" in name]
    return (means[0], variances[0]) if means and variances else _MOVED.get(type(layer))


def statistics_of(layer: nn.Module) -> tuple[Tensor, Tensor] | None:
    """The running mean and variance as they are, graph included; None where there are none."""
    names = statistics_names(layer)
    return None if names is None else (getattr(layer, names[0]), getattr(layer, names[1]))


def set_statistics(layer: nn.Module, mean: Tensor, var: Tensor) -> None:
    """Overwrite running mean and variance, (C,); a plain attribute takes the dtype of the values.

    A layer without running statistics stays as it is.
    """
    for name, value in zip(statistics_names(layer) or (), (mean, var), strict=False):
        old = getattr(layer, name)
        if old.numel() != value.numel():
            continue
        if name in layer._buffers or name in layer._parameters:
            with torch.no_grad():
                old.copy_(value.reshape(old.shape))
        else:
            setattr(layer, name, value.reshape(old.shape).clone())


def set_affine(layer: nn.Module, weight: Tensor, bias: Tensor) -> None:
    """Overwrite what scales and shifts, (C,), where the layer has it."""
    for parameter, value in zip(affine_of(layer), (weight, bias), strict=True):
        if parameter is not None and parameter.numel() == value.numel():
            with torch.no_grad():
                parameter.copy_(value.reshape(parameter.shape))
