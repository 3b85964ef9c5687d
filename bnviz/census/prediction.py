"""What a batch will keep alive, worked out from shapes alone: nothing is computed or allocated.

The network runs on torch's meta device, whose tensors have a shape and no data
(https://docs.pytorch.org/docs/stable/meta.html); autograd builds its graph all the same, and the
census of `bnviz.census.graph_census` reads it.
"""

from bisect import bisect_right
from dataclasses import dataclass
from math import floor
from typing import Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from bnviz.census.batch_footprint import Batch
from bnviz.census.graph_census import detach_statistics, watch

KINDS = ("test", "train")
ROUNDING = 1e-9
"""What a share of the steps may fall short of a whole number by rounding alone."""


@dataclass(frozen=True)
class Added:
    """What one batch leaves alive, by its kind, ``test`` or ``train``."""

    bytes: dict[str, int]
    """Of the storages that stay alive."""
    nodes: dict[str, int]


@dataclass(frozen=True)
class Prediction:
    """What the batches of a loop keep alive."""

    first: Added
    """By a batch that begins a chain: there is no older statistic with a graph to average with."""
    later: Added
    """By a batch that adds to a chain that is there already."""
    input_bytes: int
    """Of the images themselves, which the first layer saves; a part of what a test batch keeps."""
    test_cuts: bool
    """Whether a test batch cuts the chain that was there."""

    @property
    def bytes(self) -> dict[str, int]:
        """What a batch of a chain adds, by kind."""
        return self.later.bytes

    @property
    def nodes(self) -> dict[str, int]:
        """The nodes that a batch of a chain adds, by kind."""
        return self.later.nodes

    def full_at(self, memory: float, test_share: float) -> int | None:
        """The step after which more than `memory` bytes are kept; None if that never happens.

        `test_share` of the steps (0 to 1) are test batches. Where each of them cuts the chain it
        does not grow for long, and that is taken for never.
        """
        share = {"test": test_share, "train": 1 - test_share}
        added = sum(share[kind] * self.bytes[kind] for kind in KINDS)
        if added <= 0 or (self.test_cuts and test_share > 0):
            return None
        order = KINDS if is_test(1, test_share) else KINDS[::-1]
        begins = next(kind for kind in order if share[kind] and self.first.nodes[kind])
        missing = self.bytes[begins] - self.first.bytes[begins]

        def kept(step: int) -> int:
            tests = floor(step * test_share + ROUNDING)
            return tests * self.bytes["test"] + (step - tests) * self.bytes["train"] - missing

        enough = floor(2 * (memory + max(self.bytes.values())) / added) + 2
        return bisect_right(range(enough), memory, key=kept)

    def curve(self, steps: int, test_share: float, quantity: str = "bytes") -> np.ndarray:
        """What is kept after each of `steps` steps, int64 (steps,); `quantity` may be ``nodes``."""
        first, later = getattr(self.first, quantity), getattr(self.later, quantity)
        test = is_test(np.arange(1, steps + 1), test_share)
        number = np.arange(1, steps + 1)
        begins = np.where(test, bool(self.first.nodes["test"]), bool(self.first.nodes["train"]))
        cuts = test & self.test_cuts
        last_begun, last_cut = (
            np.concatenate([[0], np.maximum.accumulate(np.where(which, number, 0))[:-1]])
            for which in (begins, cuts)
        )
        alone = last_begun <= last_cut  # nothing is there to add to
        added = np.where(
            test,
            np.where(alone, first["test"], later["test"]),
            np.where(alone, first["train"], later["train"]),
        )
        kept = np.cumsum(added)
        return kept - np.maximum.accumulate(np.where(cuts, kept, 0))


def is_test(step: np.ndarray | int, test_share: float) -> np.ndarray:
    """Whether a step (from 1) is a test batch: `test_share` of all are, evenly spread."""
    before, after = (
        np.floor(np.asarray(step) * test_share + ROUNDING - k * test_share) for k in (1, 0)
    )
    return after > before


def predict(
    model: nn.Module,
    shape: tuple[int, ...],
    *,
    test_mode: Literal["train", "eval"] = "train",
    grad: bool = True,
) -> Prediction:
    """What batches of `shape` (N, ...) will leave behind in `model`, which stands on the meta device.

    A test batch runs forward in `test_mode`, with gradients if `grad`; a training step also runs
    backward. `model` must give logits (N, classes).
    """
    inputs = torch.empty(shape, device="meta")
    labels = torch.zeros(shape[0], dtype=torch.int64, device="meta")
    found: dict[str, list[Batch]] = {}
    with watch(model) as census:
        for kind in KINDS:
            detach_statistics(model)
            found[kind] = []
            for _again in range(2):  # the first begins the chain, the second adds to it
                _batch(model, kind, inputs, labels, test_mode, grad)
                found[kind].append(census.update())
        before = census.nodes
        _batch(model, "test", inputs, labels, test_mode, grad)
        census.update()
    first, later = (
        Added(
            {k: b[at].bytes for k, b in found.items()}, {k: b[at].nodes for k, b in found.items()}
        )
        for at in (0, 1)
    )
    return Prediction(
        first, later, inputs.untyped_storage().nbytes(),
        test_cuts=before > 0 and census.nodes == 0,
    )  # fmt: skip


def _batch(
    model: nn.Module, kind: str, inputs: torch.Tensor, labels: torch.Tensor, mode: str, grad: bool
) -> None:
    """One batch of that kind as a loop would run it, its outputs dropped."""
    if kind == "train":
        F.cross_entropy(model.train()(inputs), labels).backward()
        return
    model.train(mode == "train")
    with torch.set_grad_enabled(grad):
        model(inputs)
    model.train()
