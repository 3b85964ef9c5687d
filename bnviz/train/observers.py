"""Small objects that look at a run and never change it.

Each observer has a `Cadence` (when), reads one variant after a step (what) and writes to the
history (where). Drawing is somebody else's work.
"""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import numpy as np
import psutil
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm as TorchBatchNorm

from bnviz.analysis.memory import GraphCensus, device_bytes
from bnviz.analysis.modes import evaluate
from bnviz.nn import LeNet
from bnviz.nn.state import STATISTICS, restore, snapshot
from bnviz.train.history import Table
from bnviz.train.schema import LAYERS, MODES, QUANTILES, RECORDED_STAGES

SAMPLED_VALUES = 2048  # of each tensor, at fixed places
FLUSH_EVERY = 10  # steps whose rows wait on the device


class Cadence:
    """Every so many steps, less often while this observer takes more than its share of the time.

    `early` steps are always observed, so that a chart has its first point soon.
    """

    MAX_STRETCH = 10

    def __init__(self, every: int, share: float, early: tuple[int, ...] = ()):
        self.every, self.share, self.early = every, share, early
        self._spent = self._total = 0.0
        self._last = 0

    def due(self, step: int) -> bool:
        """Whether to observe after `step`."""
        if step in self.early:
            return True
        if step % self.every:
            return False
        dear = self._spent > self.share * self._total
        return not dear or step - self._last >= self.MAX_STRETCH * self.every

    def spent(self, step: int, seconds: float, total: float) -> None:
        """Take note that observing after `step` took `seconds`, of `total` so far in the run."""
        self._last = step
        self._spent += seconds
        self._total = total

    def clock(self, total: float) -> None:
        """Take note of the time that the run has taken so far."""
        self._total = total


class NormTap:
    """Listens to the norm layers of a model: statistics always, tensors when armed.

    Our layers hand over the batch statistics that they computed; `nn.BatchNorm` leaves its own in
    ``grad_fn._saved_result1`` (mean) and ``_saved_result2`` (1/std), so nothing is computed again.
    A context manager: the hooks are gone at its end, also after an error.
    """

    def __init__(self, model: LeNet):
        self.layers: dict[str, Any] = dict(model.norm_layers())
        self.armed = False
        self.tensors: dict[str, tuple[Tensor, Tensor]] = {}
        self._builtin = all(isinstance(layer, TorchBatchNorm) for layer in self.layers.values())
        self._saved: dict[str, tuple[Tensor, Tensor]] = {}
        self._handles = [
            layer.register_forward_hook(self._hook(name)) for name, layer in self.layers.items()
        ]

    def _hook(self, name: str) -> Any:
        def hook(layer: Any, args: tuple[Tensor, ...], output: Tensor) -> None:
            if self._builtin and output.grad_fn is not None:
                node: Any = output.grad_fn
                if hasattr(node, "_saved_result2"):
                    self._saved[name] = (node._saved_result1, node._saved_result2)
                else:  # a backend whose node does not say: compute them
                    dims = [d for d in range(args[0].dim()) if d != 1]
                    var, mean = torch.var_mean(args[0].detach(), dims, correction=0)
                    self._saved[name] = (mean, (var + layer.eps).rsqrt())
            if self.armed:
                self.tensors[name] = (args[0].detach(), output.detach())

        return hook

    def batch_statistics(self, name: str) -> tuple[Tensor, Tensor] | None:
        """Mean and biased variance of the last train-mode batch, shape (C,); None without BN."""
        layer = self.layers[name]
        if self._builtin:
            mean, rstd = self._saved[name]
            return mean, rstd.pow(-2).sub_(layer.eps).clamp_(min=0)
        own: Tensor | None = getattr(layer, "batch_mean", None)
        return None if own is None else (own.view(-1), layer.batch_var.view(-1))

    def raw_statistics(self) -> list[Tensor] | None:
        """Means of all layers, then their variances, without any arithmetic; None without BN.

        `nn.BatchNorm` has 1/std instead of the variance: `finish_variances` puts that right for
        many steps at once.
        """
        if self._builtin:
            return [self._saved[name][k] for k in (0, 1) for name in self.layers]
        if not hasattr(next(iter(self.layers.values())), "batch_mean"):
            return None
        return [
            getattr(layer, name).view(-1)
            for name in ("batch_mean", "batch_var")
            for layer in self.layers.values()
        ]

    def finish_variances(self, rows: Tensor) -> None:
        """Make biased variances of what `raw_statistics` gave, in place; rows are (steps, C)."""
        if self._builtin:
            eps = next(iter(self.layers.values())).eps
            rows.pow_(-2).sub_(eps).clamp_(min=0)

    def close(self) -> None:
        """Take the hooks away."""
        for handle in self._handles:
            handle.remove()
        self.tensors.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()


class StepRecorder:
    """Loss, time, batch and running statistics of every step.

    Rows wait on the device and travel to the history FLUSH_EVERY at a time, so that a GPU is
    not made to wait at each step.
    """

    def __init__(self, tap: NormTap, table: Table, device: torch.device, dtype: torch.dtype):
        self._tap, self._table = tap, table
        self._rows = torch.full(
            (FLUSH_EVERY, 4, sum(LAYERS.values())), torch.nan, device=device, dtype=dtype
        )
        # For each row, where the four statistics of each layer go.
        self._places = [
            [part for kind in row for part in kind.split(list(LAYERS.values()))]
            for row in self._rows
        ]
        self._loss = torch.empty(FLUSH_EVERY, device=device, dtype=torch.float64)
        self._steps: list[int] = []

    @property
    def full(self) -> bool:
        """Whether the rows must travel before the next step."""
        return len(self._steps) == FLUSH_EVERY

    @torch.no_grad()
    def record(self, step: int, loss: Tensor) -> None:
        """Take note of the step that has just been made."""
        at = len(self._steps)
        self._loss[at] = loss
        batch = self._tap.raw_statistics()
        if batch is not None:
            running = [
                getattr(layer, name).view(-1)
                for name in STATISTICS
                for layer in self._tap.layers.values()
            ]
            torch._foreach_copy_(self._places[at], batch + running)
        self._steps.append(step)

    def flush(self, milliseconds: list[float]) -> np.ndarray:
        """Write the waiting rows with their times; returns their losses."""
        count = len(self._steps)
        losses = self._loss[:count].cpu().numpy()
        if count:
            self._tap.finish_variances(self._rows[:count, 1])
            rows = self._rows[:count].cpu().float().numpy()
            self._table.extend(
                step=np.array(self._steps),
                loss=losses,
                ms=np.array(milliseconds),
                batch_mean=rows[:, 0],
                batch_var=rows[:, 1],
                running_mean=rows[:, 2],
                running_var=rows[:, 3],
            )
            self._steps = []
        return losses


class StageSampler:
    """Quantiles of what enters a BN layer, of x̂, and of what leaves it, at fixed sampled places.

    The normalized values come from the sampled inputs and the layer's own batch statistics; the
    scaled ones are sampled from the layer's real output. What the activation makes of them
    follows exactly, since it is monotone, and is not stored.
    """

    def __init__(self, tap: NormTap, table: Table):
        self._tap, self._table = tap, table
        self._places: dict[str, tuple[Tensor, Tensor]] = {}

    def _place(self, name: str, x: Tensor) -> tuple[Tensor, Tensor]:
        """Fixed flat places in a tensor like `x` and the channel of each."""
        if name not in self._places:
            total = x.numel()
            if total <= SAMPLED_VALUES:
                places = torch.arange(total)
            else:
                generator = torch.Generator().manual_seed(0)
                places = torch.randint(total, (SAMPLED_VALUES,), generator=generator)
            inner = x[0, 0].numel()
            self._places[name] = (
                places.to(x.device),
                (places // inner % x.shape[1]).to(x.device),
            )
        return self._places[name]

    @torch.no_grad()
    def observe(self, step: int) -> None:
        """Write the quantiles of the tensors that the armed tap has caught."""
        row = np.full((len(LAYERS), len(RECORDED_STAGES), QUANTILES), np.nan, np.float32)
        for k, name in enumerate(LAYERS):
            x, y = self._tap.tensors[name]
            places, channel = self._place(name, x)
            values = [x.take(places)]
            batch = self._tap.batch_statistics(name)
            if batch is not None:
                mean, var = batch
                rstd = (var + self._tap.layers[name].eps).rsqrt_()
                values.append((values[0] - mean[channel]).mul_(rstd[channel]))
                values.append(y.take(places))
            row[k, : len(values)] = quantiles(torch.stack(values))
        self._tap.tensors.clear()
        self._table.append(step=step, quantiles=row)


def quantiles(values: Tensor) -> np.ndarray:
    """QUANTILES order statistics of each row of `values`, at the levels (i + 1/2) / QUANTILES."""
    ordered = np.sort(values.cpu().float().numpy(), axis=1)
    places = (np.arange(QUANTILES) + 0.5) / QUANTILES * ordered.shape[1]
    return ordered[:, places.astype(int)]


class MemoryObserver:
    """Autograd nodes and tensor bytes that the running statistics of one variant keep alive."""

    def __init__(self, model: nn.Module, table: Table):
        self.census = GraphCensus(model)
        self._table = table

    def observe(self, step: int) -> None:
        """Count what came since the last call and write the totals."""
        self.census.update()
        self._table.append(step=step, kept_bytes=self.census.bytes, graph_nodes=self.census.nodes)


class ProcessObserver:
    """Memory of the whole process (RSS) and, on an accelerator, of torch's allocator there."""

    def __init__(self, device: torch.device, table: Table):
        self._process, self._device, self._table = psutil.Process(), device, table

    def observe(self, step: int) -> None:
        """Write one row."""
        allocated, reserved = device_bytes(self._device)
        self._table.append(
            step=step,
            rss=self._process.memory_info().rss,
            device_allocated=allocated,
            device_reserved=reserved,
        )


class Evaluator:
    """Accuracy in train mode and in eval mode, on a twin of the model.

    The twin gets the weights and statistics of the moment, so nothing that an evaluation does
    reaches the model itself.
    """

    def __init__(self, twin: LeNet, table: Table, variant: int, batch_size: int):
        self._twin, self._table, self._variant = twin, table, variant
        self._batch_size = batch_size

    def observe(self, step: int, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        """Evaluate on uint8 `images` in both modes and write two rows."""
        state = snapshot(model)
        for mode in ("train", "eval"):
            if mode == "train" and self._batch_size < 2:
                continue
            restore(self._twin, state)
            result = evaluate(self._twin, images, labels, mode=mode, batch_size=self._batch_size)
            self.write(step, mode, len(images), result.accuracy, result.loss)

    def write(self, step: int, mode: str, images: int, accuracy: float, loss: float) -> None:
        """Add the row of one evaluation."""
        self._table.append(
            step=step,
            variant=self._variant,
            mode=MODES.index(mode),
            images=images,
            batch_size=self._batch_size,
            accuracy=accuracy,
            loss=loss,
        )


def set_hyperparameter(
    model: LeNet, optimizer: torch.optim.Optimizer, values: Mapping[str, float | None]
) -> None:
    """Set `lr` of the optimizer and `momentum`, `eps` of all norm layers that have them."""
    for name, value in values.items():
        if name == "lr":
            for group in optimizer.param_groups:
                group["lr"] = value
            continue
        for layer in model.norm_layers().values():
            if hasattr(layer, name):
                setattr(layer, name, value)
