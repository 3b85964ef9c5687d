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
from bnviz.nn.state import restore, snapshot, statistics
from bnviz.train.history import Table
from bnviz.train.schema import LAYERS, MODES, QUANTILES, RECORDED_STAGES

SAMPLED_VALUES = 2048  # of each tensor, at fixed places
FLUSH_EVERY = 10  # steps whose rows wait on the device


class Cadence:
    """Every so many steps, less often while observing takes more than its share of the time."""

    MAX_STRETCH = 64

    def __init__(self, every: int, early: tuple[int, ...] = ()):
        self.every = every
        self.early = early
        self.stretch = 1

    def due(self, step: int) -> bool:
        """Whether to observe after `step`."""
        return step % (self.every * self.stretch) == 0 or step in self.early

    def adapt(self, share: float, budget: float) -> None:
        """Stretch when observing took a larger share of the time than `budget`, else recover."""
        if share > budget:
            self.stretch = min(2 * self.stretch, self.MAX_STRETCH)
        elif share < budget / 2 and self.stretch > 1:
            self.stretch //= 2


class NormTap:
    """Listens to the norm layers of a model: statistics always, tensors when armed.

    Our layers hand over the batch statistics that they computed; `nn.BatchNorm` leaves its own in
    ``grad_fn._saved_result1`` (mean) and ``_saved_result2`` (1/std), so nothing is computed again.
    A context manager: the hooks are gone at its end, also after an error.
    """

    def __init__(self, model: LeNet):
        self.layers = model.norm_layers()
        self.armed = False
        self.tensors: dict[str, tuple[Tensor, Tensor]] = {}
        self._saved: dict[str, tuple[Tensor, Tensor]] = {}
        self._handles = [
            layer.register_forward_hook(self._hook(name, isinstance(layer, TorchBatchNorm)))
            for name, layer in self.layers.items()
        ]

    def _hook(self, name: str, builtin: bool) -> Any:
        def hook(_module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            if builtin and output.grad_fn is not None:
                node: Any = output.grad_fn
                if hasattr(node, "_saved_result2"):
                    self._saved[name] = (node._saved_result1, node._saved_result2)
                else:  # a backend whose node does not say: compute them
                    dims = [d for d in range(args[0].dim()) if d != 1]
                    var, mean = torch.var_mean(args[0].detach(), dims, correction=0)
                    self._saved[name] = (mean, (var + _module.eps).rsqrt())
            if self.armed:
                self.tensors[name] = (args[0].detach(), output.detach())

        return hook

    def batch_statistics(self, name: str) -> tuple[Tensor, Tensor] | None:
        """Mean and biased variance of the last train-mode batch, shape (C,); None without BN."""
        if name in self._saved:
            mean, rstd = self._saved[name]
            return mean, rstd.pow(-2).sub_(self.layers[name].eps).clamp_(min=0)
        mean = getattr(self.layers[name], "batch_mean", None)
        return None if mean is None else (mean.reshape(-1), self.layers[name].batch_var.reshape(-1))

    def close(self) -> None:
        """Take the hooks away."""
        for handle in self._handles:
            handle.remove()
        self.tensors.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()


class StepRecorder:
    """Loss, time, batch and running statistics of every step.

    Rows wait on the device and travel to the history FLUSH_EVERY at a time, so that a GPU is
    not made to wait at each step.
    """

    def __init__(self, tap: NormTap, table: Table, device: torch.device, dtype: torch.dtype):
        self._tap, self._table = tap, table
        width = 4 * sum(LAYERS.values())
        self._rows = torch.full((FLUSH_EVERY, width), torch.nan, device=device, dtype=dtype)
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
        batch = [self._tap.batch_statistics(name) for name in LAYERS]
        if all(pair is not None for pair in batch):
            running = [statistics(layer) for layer in self._tap.layers.values()]
            parts = [pair[k] for pairs in (batch, running) for k in (0, 1) for pair in pairs]  # type: ignore[index]
            torch.cat([p.to(self._rows.dtype) for p in parts], out=self._rows[at])
        self._steps.append(step)

    def flush(self, milliseconds: list[float]) -> np.ndarray:
        """Write the waiting rows with their times; returns their losses."""
        count = len(self._steps)
        losses = self._loss[:count].cpu().numpy()
        if count:
            rows = self._rows[:count].cpu().float().numpy().reshape(count, 4, -1)
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
            values = x.take(places)
            row[k, 0] = quantiles(values)
            batch = self._tap.batch_statistics(name)
            if batch is not None:
                mean, var = batch
                rstd = (var + self._tap.layers[name].eps).rsqrt_()
                row[k, 1] = quantiles((values - mean[channel]).mul_(rstd[channel]))
                row[k, 2] = quantiles(y.take(places))
        self._tap.tensors.clear()
        self._table.append(step=step, quantiles=row)


def quantiles(values: Tensor) -> np.ndarray:
    """QUANTILES order statistics of a flat tensor, at the levels (i + 1/2) / QUANTILES."""
    ordered = np.sort(values.cpu().float().numpy())
    places = (np.arange(QUANTILES) + 0.5) / QUANTILES * len(ordered)
    return ordered[places.astype(int)]


class MemoryObserver:
    """Autograd nodes and tensor bytes that the running statistics of one variant keep alive."""

    def __init__(self, model: nn.Module, table: Table):
        self.census = GraphCensus(model)
        self._table = table

    def observe(self, step: int) -> None:
        """Count what came since the last call and write the totals."""
        self.census.update()
        self._table.append(
            step=step, kept_bytes=self.census.bytes, graph_nodes=self.census.nodes
        )


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
            result = evaluate(
                self._twin, images, labels, mode=mode, batch_size=self._batch_size
            )
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
