"""What one forward pass leaves behind for its backward pass, tensor by tensor, and what a step takes.

A node of autograd keeps the tensors that its gradient needs until backward has passed it
(https://docs.pytorch.org/docs/stable/notes/autograd.html#saved-tensors). They are seen here by
`torch.autograd.graph.saved_tensors_hooks`
(https://docs.pytorch.org/docs/stable/autograd.html#torch.autograd.graph.saved_tensors_hooks).
"""

import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch._C._profiler import _EventType
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile, record_function

from bnviz.census.graph import newer_nodes
from bnviz.census.tensor_search import graphs_in
from bnviz.instrument.capture import ForwardHook, hooked
from bnviz.nn import LeNet
from bnviz.nn.lenet import Halving
from bnviz.nn.state import STATISTICS, restored

COLUMNS = ("layer", "operation", "saved", "shape", "dtype", "kind", "size", "bytes", "counted_in")
LOSS = "loss"
"""Stands for the layer of what is saved outside of every module."""
_SAVES = re.compile(r"_saved_|saved_tensors$")  # attributes of a node; the second, of a Function


def saved_for_backward(
    model: nn.Module, inputs: Tensor | tuple[Tensor, ...], labels: Tensor | None = None
) -> pd.DataFrame:
    """Every tensor that autograd saves in one forward pass in train mode, in the order of saving.

    With `labels` (int64, (N,)) the mean cross-entropy of the output is part of the pass. The model
    is left as it was. Columns: layer, in whose forward it was saved (`layer_names`); operation and
    saved, the name of the autograd node and what that node calls it; shape, a tuple; dtype; kind,
    ``parameter``, ``buffer``, ``input`` (and labels), which live anyway, or ``made`` by the pass;
    size, the bytes of its storage; bytes, the same in the first row with that storage and 0 in the
    others, so that their sum is what is kept; counted_in, the layer of that first row.
    """
    given = (inputs,) if isinstance(inputs, Tensor) else inputs
    with restored(model), torch.enable_grad():
        model.train()
        saved = _Saved()
        names = layer_names(model)
        with hooked([(name, module) for module, name in names.items()], saved), saved.recording():
            output = model(*given)
            if labels is not None:
                output = F.cross_entropy(output, labels)
        saved.name_operations([output, *_statistics(model)])
    lives = [
        *(("parameter", tensor) for tensor in model.parameters()),
        *(("buffer", tensor) for tensor in model.buffers()),
        *(("input", tensor) for tensor in (*given, labels) if tensor is not None),
    ]
    kinds = {tensor.untyped_storage().data_ptr(): kind for kind, tensor in lives}
    return _table(saved.records, kinds)


@dataclass(eq=False)
class _Record:
    """A tensor that was saved, without its graph: one that holds its own node is never freed."""

    tensor: Tensor
    layer: str
    operation: str = ""
    saved: str = ""


class _Saved(ForwardHook):
    """What autograd saves while it records, each with the innermost module at work."""

    def __init__(self) -> None:
        self.records: list[_Record] = []
        self._inside = [LOSS]
        self._unpacked: list[_Record] = []

    def recording(self) -> AbstractContextManager[None]:
        """While it lasts, autograd says what it saves."""
        return torch.autograd.graph.saved_tensors_hooks(self._pack, self._unpack)

    def before(self, layer: str, inputs: object) -> None:
        """The forward of `layer` begins."""
        self._inside.append(layer)

    def over(self, layer: str) -> None:
        """It is over."""
        self._inside.pop()

    def name_operations(self, results: list[Any]) -> None:
        """Ask every node from `results` back for what it saved; unpacking says which record it is."""
        graphs = [function for _name, function in graphs_in(results)]
        for node in newer_nodes(graphs, -1).values():
            for name in filter(_SAVES.match, dir(node)):
                self._unpacked.clear()
                getattr(node, name)
                for number, record in enumerate(self._unpacked):
                    record.operation = node.name()
                    record.saved = name.removeprefix("_saved_")
                    if len(self._unpacked) > 1:
                        record.saved += f"[{number}]"

    def _pack(self, tensor: Tensor) -> _Record:
        self.records.append(_Record(tensor.detach(), self._inside[-1]))
        return self.records[-1]

    def _unpack(self, record: _Record) -> Tensor:
        self._unpacked.append(record)
        return record.tensor


WORDS = {nn.Sigmoid: "sigmoid", nn.ReLU: "ReLU", Halving: "pooling"}
"""What the layers of LeNet without weights are called."""


def layer_names(model: nn.Module) -> dict[nn.Module, str]:
    """A name for each module: its path, or in a LeNet the weights it belongs to and what it is.

    ``conv1``, ``conv1 BN``, ``conv1 sigmoid``, …, ``out``; the model itself is called by its class.
    """
    names = {module: path or type(model).__name__ for path, module in model.named_modules()}
    if not isinstance(model, LeNet):
        return names
    norms = list(model.norm_layers().values())
    weights, current = {m: name for name, m in model.weight_layers().items()}, ""
    for module in (*model.conv, *model.fc):
        if module in weights:
            names[module] = current = weights[module]
        else:
            what = "BN" if module in norms else WORDS[type(module)]
            names[module] = f"{current} {what}"
    return names


def _statistics(model: nn.Module) -> list[Any]:
    """Running statistics, which may have a graph of their own."""
    return [getattr(layer, name, None) for layer in model.modules() for name in STATISTICS]


def _table(records: list[_Record], kinds: dict[int, str]) -> pd.DataFrame:
    rows, first = [], dict[int, str]()
    for record in records:
        storage = record.tensor.untyped_storage()
        at, size = storage.data_ptr(), storage.nbytes()
        new = at not in first
        rows.append((
            record.layer, record.operation, record.saved, tuple(record.tensor.shape),
            str(record.tensor.dtype).removeprefix("torch."), kinds.get(at, "made"),
            size, size if new else 0, first.setdefault(at, record.layer),
        ))  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


# ---- the memory that one step takes --------------------------------------------------------------

PHASES = ("forward", "backward", "update")
CURVE_POINTS = 600
_EVALUATES = "autograd::engine::evaluate_function: "  # so the profiler names a node at work
_profiling = threading.Lock()  # there is one profiler in a process


@dataclass(frozen=True)
class StepMemory:
    """Memory over one training step, in bytes above what was taken when it began."""

    peak: int
    end: int
    peak_operation: str
    """The autograd node at work when the peak is reached; empty outside of the backward pass."""
    curve: pd.DataFrame
    """Columns at (below 1 the forward pass, below 2 backward, below 3 the update; within each evenly
    by the order of allocations), ms since the start under the profiler, and bytes: what is taken
    from then on. The peak is among its at most CURVE_POINTS points."""

    @property
    def peak_phase(self) -> str:
        """In which of PHASES the peak falls."""
        at = self.curve["at"].iloc[int(self.curve["bytes"].to_numpy().argmax())]
        return PHASES[min(int(at), len(PHASES) - 1)]


def peak_of_a_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor, labels: Tensor
) -> StepMemory:
    """Peak and end of the memory of one step: forward, mean cross-entropy, backward, update.

    Every block that torch's allocator of the model's device hands out or gets back during the step
    counts, by the events of `torch.profiler`
    (https://docs.pytorch.org/docs/stable/profiler.html, profile_memory); on CUDA the peak is that of
    `torch.cuda.max_memory_allocated`. Gradients are dropped at the end of the update. Not counted:
    what was there before (parameters, the optimizer's state, the batch), what libraries allocate
    past torch, objects of Python and of autograd. Two steps are done, and the second is measured,
    so the first allocations of an optimizer are over. The model is trained by both.
    """
    device = next(model.parameters()).device
    model.train()

    def step() -> None:
        with record_function(PHASES[0]):
            loss = F.cross_entropy(model(inputs), labels)
        with record_function(PHASES[1]):
            loss.backward()
        with record_function(PHASES[2]):
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    optimizer.zero_grad(set_to_none=True)
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with _profiling, profile(activities=activities, profile_memory=True) as seen:
        step()
        before = _start_of_peak(device)
        step()
        peak = _cuda_peak(device, before)
    results = seen.profiler.kineto_results
    events = results.events()
    start = _begin_of(events, PHASES[0])
    curve = _curve(events, _changes(results.experimental_event_tree(), device))
    top = curve.iloc[int(curve["bytes"].to_numpy().argmax())]
    return StepMemory(
        int(top["bytes"]) if peak is None else peak,
        int(curve["bytes"].iloc[-1]),
        _node_at(events, start + round(top["ms"] * 1e6)),
        _thinned(curve),
    )


def _begin_of(events: Any, phase: str) -> int:
    """When that phase of the last step began, in nanoseconds."""
    return max(e.start_ns() for e in events if e.name() == phase)


def _node_at(events: Any, moment: int) -> str:
    """The autograd node that was at work, or nothing."""
    at_work = (
        e.name().removeprefix(_EVALUATES)
        for e in events
        if e.name().startswith(_EVALUATES) and e.start_ns() <= moment <= e.end_ns()
    )
    return next(at_work, "")


def _start_of_peak(device: torch.device) -> int:
    if device.type != "cuda":
        return 0
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device)


def _cuda_peak(device: torch.device, before: int) -> int | None:
    return torch.cuda.max_memory_allocated(device) - before if device.type == "cuda" else None


def _changes(tree: Iterable[Any], device: torch.device) -> list[tuple[int, int]]:
    """Moment and size of each change on the device, in order; freed memory is negative.

    Only of blocks that were handed out meanwhile: the profiler also tells of others that are freed,
    with the size of whatever an earlier profile had seen at their address.
    """
    sizes: dict[int, int] = {}
    changes = []
    for moment, block, size, where in sorted(_allocations(tree), key=lambda event: event[0]):
        if where.type != device.type:
            continue
        if size > 0:
            sizes[block] = size
            changes.append((moment, size))
        elif block in sizes:
            changes.append((moment, -sizes.pop(block)))
    return changes


def _allocations(tree: Iterable[Any]) -> Iterator[tuple[int, int, int, torch.device]]:
    """Moment, address, size and device of all allocator events of a profile."""
    for event in tree:
        if event.tag == _EventType.Allocation:
            fields = event.extra_fields
            yield event.start_time_ns, fields.ptr, fields.alloc_size, fields.device
        yield from _allocations(event.children)


def _curve(events: Any, changes: list[tuple[int, int]]) -> pd.DataFrame:
    """The last step's memory from a profile's events: columns at, ms, bytes, beginning with 0."""
    over = max(e.end_ns() for e in events if e.name() == PHASES[-1])
    borders = [*(_begin_of(events, phase) for phase in PHASES), over]
    start = borders[0]
    changes = [change for change in changes if change[0] >= start]
    moments = np.array([start, *(moment for moment, _size in changes)], np.int64)
    sizes = np.cumsum([0, *(size for _moment, size in changes)])
    return pd.DataFrame(
        {"at": _places(moments, borders), "ms": (moments - start) / 1e6, "bytes": sizes}
    )


def _places(moments: np.ndarray, borders: list[int]) -> np.ndarray:
    """Ascending `moments` as 0 to 1, 1 to 2, … between the borders, evenly by their order.

    By order and not by time, which is another in each measurement.
    """
    phase = np.clip(np.searchsorted(borders, moments, side="right") - 1, 0, len(borders) - 2)
    first = np.searchsorted(phase, phase)
    count = np.bincount(phase)[phase]
    return phase + (np.arange(len(moments)) - first) / count


def _thinned(curve: pd.DataFrame) -> pd.DataFrame:
    """At most CURVE_POINTS of the points, evenly by their number, first, peak and last among them."""
    even = np.linspace(0, len(curve) - 1, min(len(curve), CURVE_POINTS - 1)).astype(int)
    chosen = sorted({*even, int(curve["bytes"].to_numpy().argmax())})
    return curve.iloc[chosen].reset_index(drop=True)
