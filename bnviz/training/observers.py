"""Small objects that look at a run and never change it.

Each observer has a `Cadence` (when), reads one variant after a step (what) and writes to the
history (where). Drawing is somebody else's work.
"""

import time
from collections.abc import Mapping

import numpy as np
import psutil
import torch
from torch import Tensor, nn

from bnviz.census.allocator import device_bytes
from bnviz.census.graph_census import GraphCensus
from bnviz.evaluation.inference import evaluate
from bnviz.instrument.norm_capture import NormCapture
from bnviz.nn import LeNet
from bnviz.nn.state import STATISTICS, restore, snapshot
from bnviz.records.history import Table
from bnviz.records.schema import LAYERS, MODES, QUANTILES, RECORDED_STAGES

SAMPLED_VALUES = 2048  # of each tensor, at fixed places
FLUSH_EVERY = 32  # so many steps may wait on the device for their way into the history,
FLUSH_AFTER_S = 0.2  # or those of so long a time
PROCESS_EVERY_S = 0.1


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


class StepRecorder:
    """Loss, time, batch and running statistics of every step.

    Rows wait on the device and travel to the history many at a time, so that a GPU is not made to
    wait at each step.
    """

    def __init__(self, norms: NormCapture, table: Table, device: torch.device, dtype: torch.dtype):
        self._norms, self._table = norms, table
        self._rows = torch.full(
            (FLUSH_EVERY, 4, sum(LAYERS.values())), torch.nan, device=device, dtype=dtype
        )
        self._flat_rows = [row.view(-1) for row in self._rows]
        self._losses: list[Tensor] = []
        self._steps: list[int] = []
        self._flushed = time.monotonic()

    @property
    def full(self) -> bool:
        """Whether the rows must travel before the next step."""
        waited = time.monotonic() - self._flushed
        return len(self._steps) == FLUSH_EVERY or waited > FLUSH_AFTER_S

    @torch.no_grad()
    def record(self, step: int, loss: Tensor) -> None:
        """Take note of the step that has just been made."""
        vectors = self._norms.raw_statistics()
        if vectors is not None:
            torch.cat(vectors, out=self._flat_rows[len(self._steps)])
        self._losses.append(loss)
        self._steps.append(step)

    def flush(self, milliseconds: list[float]) -> np.ndarray:
        """Write the waiting rows with their times; returns their losses."""
        count = len(self._steps)
        self._flushed = time.monotonic()
        if not count:
            return np.empty(0)
        losses = torch.stack(self._losses).double().cpu().numpy()
        self._losses = []
        self._norms.finish_variances(self._rows[:count, 1])
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


def sampled_places(total: int) -> Tensor:
    """The SAMPLED_VALUES places (int64, ascending) at which a tensor of `total` values is sampled.

    Always the same ones. Of a tensor that is smaller all values are taken, evenly: some once more
    than others.
    """
    if total <= SAMPLED_VALUES:
        return torch.arange(SAMPLED_VALUES) * total // SAMPLED_VALUES
    generator = torch.Generator().manual_seed(0)
    # In order: memory is read much faster forwards than here and there.
    return torch.randint(total, (SAMPLED_VALUES,), generator=generator).sort()[0]


class StageSampler:
    """Quantiles of what enters a BN layer, of x̂, and of what leaves it, at fixed sampled places.

    The normalized values come from the sampled inputs and the layer's own batch statistics; the
    scaled ones are sampled from the layer's real output. What the activation makes of them
    follows exactly, since it is monotone, and is not stored.
    """

    def __init__(self, norms: NormCapture, table: Table):
        self._norms, self._table = norms, table
        self._places: dict[str, Tensor] = {}
        self._channels = self._values = torch.empty(0)

    def _prepare(self) -> None:
        """Choose the places in tensors like those that were caught, and the channel of each."""
        channels, before = [], 0
        for name, x in self._norms.inputs.items():
            places = sampled_places(x.numel())
            channels.append(before + places // x[0, 0].numel() % x.shape[1])
            before += x.shape[1]
            self._places[name] = places.to(x.device)
        self._channels = torch.cat(channels).to(x.device)
        shape = (len(RECORDED_STAGES), len(self._places), SAMPLED_VALUES)
        self._values = x.new_full(shape, torch.nan)

    @torch.no_grad()
    def observe(self, step: int) -> None:
        """Write the quantiles of the captured tensors."""
        if not self._places:
            self._prepare()
        inputs, normalized, scaled = self._values
        statistics = self._norms.mean_and_rstd()
        for k, (name, places) in enumerate(self._places.items()):
            x, y = self._norms.inputs[name], self._norms.outputs[name]
            torch.index_select(x.reshape(-1), 0, places, out=inputs[k])
            if statistics is not None:
                torch.index_select(y.reshape(-1), 0, places, out=scaled[k])
        if statistics is not None:
            mean, rstd = (s.index_select(0, self._channels).view_as(inputs) for s in statistics)
            torch.sub(inputs, mean, out=normalized).mul_(rstd)
        self._norms.forget()
        self._table.append(step=step, quantiles=quantiles(self._values).swapaxes(0, 1))


_RANKS = ((np.arange(QUANTILES) + 0.5) / QUANTILES * SAMPLED_VALUES).astype(int)


def quantiles(values: Tensor) -> np.ndarray:
    """Of SAMPLED_VALUES along the last axis, those at the levels (i + 1/2) / QUANTILES."""
    return np.sort(values.cpu().float().numpy(), axis=-1)[..., _RANKS]


class MemoryObserver:
    """Autograd nodes and tensor bytes that the running statistics of one variant keep alive."""

    def __init__(self, model: nn.Module, table: Table):
        self.census = GraphCensus(model, only=STATISTICS)
        self._table = table

    def observe(self, step: int) -> None:
        """Count what came since the last call and write the totals."""
        self.census.update()
        self._table.append(step=step, kept_bytes=self.census.bytes, graph_nodes=self.census.nodes)


class ProcessObserver:
    """Memory of the whole process (RSS) and, on an accelerator, of torch's allocator there.

    At most one row in PROCESS_EVERY_S: asking the operating system is dear for so slow a number.
    """

    def __init__(self, device: torch.device, table: Table):
        self._process, self._device, self._table = psutil.Process(), device, table
        self._looked = -PROCESS_EVERY_S

    def observe(self, step: int) -> None:
        """Write one row, if it is time."""
        now = time.monotonic()
        if now - self._looked < PROCESS_EVERY_S:
            return
        self._looked = now
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
