"""What a BN layer does in each of its states, found by running it: which statistics normalize,
which are written, which parameters get a gradient.

The states are those that a training script sets: `train()` or `eval()`, `track_running_stats`,
`momentum`, `requires_grad_(False)` and `torch.no_grad()`
(https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html and
https://docs.pytorch.org/docs/stable/notes/autograd.html, "Locally disabling gradient computation").
"""

import copy
from itertools import product
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from bnviz.evaluation.inference import to_input
from bnviz.instrument.capture import capture
from bnviz.nn.state import affine, restored, set_statistics, statistics

MODES = ("train", "eval")
KEPT = ("tracked", "momentum 0", "untracked", "untracked, momentum 0")
"""Running statistics that follow, that stand still, and none (`track_running_stats=False`)."""
FROZEN = ("nothing", "requires_grad_(False)", "no_grad()", "both")
BATCH, RUNNING = "batch", "running"


def truth_table(layer: nn.Module, x: Tensor) -> pd.DataFrame:
    """One row a state of `layer` on its input `x` (N, C, ...), of which copies are run.

    Columns: mode (MODES), kept (KEPT), frozen (FROZEN), normalizes (``batch`` or ``running``: by
    which statistics the output is explained), writes (whether the running statistics moved),
    weight_gradient and input_gradient (whether backward reaches weight and bias, and what lies
    before the layer). A layer that cannot go without running statistics, like the note's, has no
    rows ``untracked``. The layer is not changed.

    Raises ValueError, as the layer does, for a single value per channel.
    """
    optional = hasattr(layer, "track_running_stats")
    able = [kept for kept in KEPT if optional or "untracked" not in kept]
    rows = [
        {"mode": mode, "kept": kept, "frozen": frozen, **_observed(layer, x, mode, kept, frozen)}
        for mode, kept, frozen in product(MODES, able, FROZEN)
    ]
    return pd.DataFrame(rows)


def truth_table_in(model: Any, layer: str, images: Tensor) -> pd.DataFrame:
    """`truth_table` of a layer of `model`, on what enters it in eval mode from `images`.

    `layer` is one of `model.norm_layers`, `images` are uint8 (N, 28, 28). The model is left as it was.
    """
    norm = model.norm_layers()[layer]
    with restored(model), capture({layer: norm}) as seen, torch.no_grad():
        model.eval()(to_input(images, next(model.parameters()).dtype))
    return truth_table(norm, seen.inputs[layer])


def _observed(layer: nn.Module, x: Tensor, mode: str, kept: str, frozen: str) -> dict[str, Any]:
    """Run a copy of `layer` in one state and say what was seen."""
    with restored(layer):
        _without_graph(layer)
        copied: Any = copy.deepcopy(layer)
    copied.train(mode == "train")
    if "momentum 0" in kept:
        copied.momentum = 0.0
    if "untracked" in kept:
        copied.track_running_stats = False
        copied.running_mean = copied.running_var = copied.num_batches_tracked = None
    copied.requires_grad_(frozen in ("nothing", "no_grad()"))
    x = x.detach().clone().requires_grad_()
    before = statistics(copied)
    before = before and (before[0].clone(), before[1].clone())
    with torch.set_grad_enabled(frozen not in ("no_grad()", "both")):
        output = copied(x)
    if output.requires_grad:
        output.square().sum().backward()
    after = statistics(copied)
    return {
        "normalizes": _explained_by(copied, x.detach(), output.detach(), before),
        "writes": before is not None
        and any(not torch.equal(a, b) for a, b in zip(before, after or (), strict=True)),
        "weight_gradient": any(p.grad is not None for p in copied.parameters()),
        "input_gradient": x.grad is not None,
    }


def _without_graph(layer: nn.Module) -> None:
    """Detach running statistics that a graph hangs on, which a copy cannot be made of."""
    kept = statistics(layer)
    if kept is not None:
        set_statistics(layer, *kept)


def _explained_by(
    layer: Any, x: Tensor, output: Tensor, running: tuple[Tensor, Tensor] | None
) -> str:
    """Whether the batch's statistics or the running ones explain the output better."""
    if running is None:
        return BATCH
    dims = [dim for dim in range(x.dim()) if dim != 1]
    var, mean = torch.var_mean(x, dims, correction=0)
    candidates = {BATCH: (mean, var), RUNNING: running}
    shape = (1, -1, *[1] * (x.dim() - 2))
    weight, bias = (v.reshape(shape) for v in affine(layer) or (torch.ones(1), torch.zeros(1)))
    errors = {
        name: (
            (x - m.reshape(shape)) / (v.reshape(shape) + layer.eps).sqrt() * weight + bias - output
        )
        .abs()
        .max()
        .item()
        for name, (m, v) in candidates.items()
    }
    return min(errors, key=lambda name: errors[name])
