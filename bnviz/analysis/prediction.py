"""What a batch will keep alive, worked out from shapes alone: nothing is computed or allocated.

The network runs on torch's meta device, whose tensors have a shape and no data
(https://docs.pytorch.org/docs/stable/meta.html); autograd builds its graph all the same, and the
census of `bnviz.analysis.memory` reads it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F

from bnviz.analysis.kept import Batch
from bnviz.analysis.memory import watch

KINDS = ("test", "train")


@dataclass(frozen=True)
class Prediction:
    """What one batch adds to a chain that is there already."""

    bytes: dict[str, int]
    """By kind of batch, ``test`` or ``train``: of the storages that stay alive."""
    nodes: dict[str, int]
    table: pd.DataFrame
    """Of a test batch: columns layer, operation, nodes, bytes."""
    input_bytes: int
    """Of the images themselves, which the first layer saves; a part of `bytes` of a test batch."""
    test_cuts: bool
    """Whether a test batch cuts the chain that was there."""

    def per_step(self, test_share: float) -> float:
        """Bytes that a step adds in the long run, if `test_share` of the steps (0 to 1) are tests."""
        if self.test_cuts and test_share > 0:
            return 0.0
        return test_share * self.bytes["test"] + (1 - test_share) * self.bytes["train"]

    def full_at(self, memory: float, test_share: float) -> int | None:
        """The step at which `memory` bytes are full; None if that never happens."""
        added = self.per_step(test_share)
        return None if added <= 0 else int(memory // added) + 1

    def curve(
        self, steps: int, test_share: float, per_batch: Mapping[str, int] | None = None
    ) -> np.ndarray:
        """Bytes kept after each of `steps` steps, int64 (steps,); `per_batch` may be `nodes`."""
        added = self.bytes if per_batch is None else per_batch
        test = is_test(np.arange(1, steps + 1), test_share)
        kept = np.cumsum(np.where(test, added["test"], added["train"]))
        if not self.test_cuts:
            return kept
        return kept - np.maximum.accumulate(np.where(test, kept, 0))


def is_test(step: np.ndarray | int, test_share: float) -> np.ndarray:
    """Whether a step (from 1) is a test batch: `test_share` of all are, evenly spread."""
    before, after = (
        np.floor(np.asarray(step) * test_share + 1e-9 - k * test_share) for k in (1, 0)
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
    found: dict[str, Batch] = {}
    with watch(model) as census:
        for kind in KINDS:
            for _again in range(2):  # the chain begins with the first batch; the second adds to it
                _batch(model, kind, inputs, labels, test_mode, grad)
                found[kind] = census.update()
        before = census.nodes
        _batch(model, "test", inputs, labels, test_mode, grad)
        census.update()
    return Prediction(
        {kind: batch.bytes for kind, batch in found.items()},
        {kind: batch.nodes for kind, batch in found.items()},
        found["test"].table(),
        inputs.untyped_storage().nbytes(),
        test_cuts=before > 0 and census.nodes == 0,
    )


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
