"""What a layer costs beside its reference: bytes kept for the backward pass, and time."""

import statistics
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bnviz.census.saved_tensors import saved_for_backward
from bnviz.subjects.parity.layer_adapter import TORCH, Subject, common_dims, undisturbed

TYPICAL = {2: (256, 120), 3: (32, 16, 64), 4: (32, 16, 28, 28)}
"""The shapes that are measured: layers about as large as LeNet's."""
ROUNDS, WARM_UP = 30, 5


@dataclass(frozen=True)
class Timing:
    """Medians of a forward and backward pass in train mode, in milliseconds."""

    own_ms: float
    reference_ms: float

    @property
    def ratio(self) -> float:
        """How many times as long as the reference the own layer takes."""
        return self.own_ms / self.reference_ms


def saved_bytes(cls: Any, dims: int | None = None) -> int:
    """Bytes that autograd keeps for the backward pass after one train step, float32.

    Distinct storages, input and weights among them (`bnviz.census.saved_tensors`).
    The input is that of TYPICAL for `dims`, the largest number that the class takes if None.
    Raises ConfigError if it takes none.
    """
    subject = cls if isinstance(cls, Subject) else Subject(cls)
    layer, x = _prepare(subject, common_dims(subject, None)[-1] if dims is None else dims)
    with undisturbed():
        return int(saved_for_backward(layer, x)["bytes"].sum())


def time_ratio(
    cls: Any, reference: Any = None, dims: int | None = None, *, rounds: int = ROUNDS
) -> Timing:
    """Time of one forward and backward pass, own layer and `reference` in turns.

    The input is that of TYPICAL for `dims`, the largest number that both take if None;
    `reference` None is torch's layer. Raises ConfigError if no input fits both classes.
    """
    own, other = Subject(cls), None if reference is None else Subject(reference)
    dims = common_dims(own, other)[-1] if dims is None else dims
    pairs = [_prepare(subject, dims) for subject in (own, other or Subject(TORCH[dims]))]
    took: tuple[list[float], list[float]] = ([], [])
    with undisturbed():
        for number in range(-WARM_UP, rounds):
            for (layer, x), times in zip(pairs, took, strict=True):
                began = time.perf_counter()
                layer(x).sum().backward()
                if number >= 0:
                    times.append(1000 * (time.perf_counter() - began))
                _forget(layer, x)
    return Timing(*map(statistics.median, took))


def _prepare(subject: Subject, dims: int) -> tuple[nn.Module, Tensor]:
    """A new layer in train mode, and an input that needs a gradient."""
    shape = TYPICAL[dims]
    with undisturbed():
        layer = subject.build(shape[1], dims).train()
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return layer, x.requires_grad_()


def _forget(layer: nn.Module, x: Tensor) -> None:
    layer.zero_grad()
    x.grad = None
