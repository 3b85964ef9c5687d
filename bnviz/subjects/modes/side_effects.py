"""What moves the running statistics although no weight moves: passes in train mode, and the two
ways of saving memory that make more of them than there are steps.

An EMA that is updated k times with the same batch has moved as one of momentum 1 - (1 - m)^k, and
over k parts of a batch the old value keeps (1 - m)^k.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from bnviz.census.graph_census import detach_statistics
from bnviz.errors import check_choice, check_share
from bnviz.evaluation.inference import Statistics, check_batch, running_statistics, to_input
from bnviz.nn.state import restored, set_statistics
from bnviz.nn.state import statistics as get_statistics

WAYS = ("plain", "accumulated", "checkpointed")
PARTS = 4
"""Parts of a batch that gradients are accumulated over."""


@dataclass(frozen=True)
class Moved:
    """Where the running statistics were after some steps at frozen weights."""

    statistics: Statistics
    """By layer, mean and variance (C,)."""
    momentum: float
    """Weight that the first step gave to new batches, measured: 1 less what is left of the old."""
    expected: float
    """The same from the number of updates, 1 - (1 - m)^k."""


def equivalent_momentum(momentum: float, updates: float) -> float:
    """Momentum of one update that leaves as much of the old value as `updates` do: 1 - (1 - m)^k.

    With a fraction it says what makes up for them: of 1 / k, the momentum that k updates in a step
    must have to move as one of `momentum`. Raises ConfigError for a momentum outside 0 to 1.
    """
    check_share("momentum", momentum)
    return 1 - (1 - momentum) ** updates


@contextmanager
def _gradients_restored(model: Any) -> Iterator[None]:
    """While it lasts there are no gradients of before; afterwards there are those and no others."""
    before = [(parameter, parameter.grad) for parameter in model.parameters()]
    try:
        for parameter, _gradient in before:
            parameter.grad = None
        yield
    finally:
        for parameter, gradient in before:
            parameter.grad = gradient


def run_in_train_mode(
    model: Any, images: Tensor, *, way: str, batch_size: int, momentum: float
) -> Moved:
    """Forward and backward over uint8 `images` (N, 28, 28) in train mode; no weight is changed.

    `way` is ``plain``; ``accumulated``, each batch in PARTS parts, as gradient accumulation does;
    or ``checkpointed``, where `torch.utils.checkpoint` runs the forward pass again in backward
    (https://docs.pytorch.org/docs/stable/checkpoint.html). All layers have that `momentum`
    meanwhile. The model is put back as it was, gradients included. Raises ConfigError for another way, a momentum outside 0 to 1, fewer images than a batch and
    parts of one image.
    """
    check_choice("way", way, WAYS)
    updates = {"plain": 1, "accumulated": PARTS, "checkpointed": 2}[way]
    expected = equivalent_momentum(momentum, updates)
    part = batch_size // PARTS if way == "accumulated" else batch_size
    check_batch(min(part, len(images)))
    run = _checkpointed if way == "checkpointed" else _plain
    with restored(model), _gradients_restored(model):
        model.train()
        for layer in model.norm_layers().values():
            layer.momentum = momentum
        left = _left_of_the_old(model, images[:batch_size], part, run)
        for batch in images.split(batch_size):
            _in_parts(model, batch, part, run)
        return Moved(running_statistics(model), 1 - left, expected)


def _in_parts(model: Any, batch: Tensor, part: int, run: Callable[[Any, Tensor], None]) -> None:
    """Run a batch in parts; a rest of one image, which cannot be normalized, is left out."""
    dtype = next(model.parameters()).dtype
    for piece in batch.split(part):
        if len(piece) > 1:
            run(model, to_input(piece, dtype))
            detach_statistics(model)


def _plain(model: Any, x: Tensor) -> None:
    model(x).square().mean().backward()


def _checkpointed(model: Any, x: Tensor) -> None:
    checkpoint(model, x, use_reentrant=False).square().mean().backward()


def _left_of_the_old(
    model: Any, batch: Tensor, part: int, run: Callable[[Any, Tensor], None]
) -> float:
    """What one step leaves of the running mean: the difference between two that began apart."""
    ends = []
    for start in (0.0, 1.0):
        with restored(model):
            for layer in model.norm_layers().values():
                mean, var = _known(layer)
                set_statistics(layer, torch.full_like(mean, start), var)
            _in_parts(model, batch, part, run)
            ends.append(np.concatenate([mean for mean, _var in running_statistics(model).values()]))
    return float(np.mean(ends[1] - ends[0]))


def _known(layer: Any) -> tuple[Tensor, Tensor]:
    """The running statistics of a layer that has some."""
    kept = get_statistics(layer)
    assert kept is not None
    return kept
