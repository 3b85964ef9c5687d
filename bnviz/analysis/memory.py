"""What keeps an autograd graph alive, and the tensors that it saved: a census of any module.

A tensor that was computed with gradients on and not detached has a ``grad_fn``. Along its
``next_functions`` hang the nodes of all that it was computed from, and each node holds the tensors
it saved for a backward pass, until that pass frees them
(https://docs.pytorch.org/docs/stable/notes/autograd.html#saved-tensors). A module that keeps such a
tensor from batch to batch keeps every batch::

    with watch(model) as seen:
        for inputs, labels in batches:
            train_step(inputs, labels)
            seen.update()
    print(seen.verdict())
"""

from __future__ import annotations

import ctypes
import platform
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Self

import pandas as pd
import torch
from torch import Tensor, nn

from bnviz.analysis.graph import (
    holding,
    new_nodes,
    newer_nodes,
    next_number,
    saved_bytes,
    saved_tensors,
    storage_of,
)
from bnviz.i18n import _
from bnviz.nn.state import STATISTICS

Spans = tuple[tuple[int, str], ...]
"""Numbers of nodes since the batch began, ascending, and the layer that ran from there on."""

OUTSIDE = ""
"""The layer of what was computed in no layer's forward, or before anybody listened."""

_STANDARD = frozenset(vars(nn.Module()))
# What most attributes are, and what can hold no tensor.
_PLAIN = frozenset({bool, int, float, str, type(None), torch.dtype, torch.device, partial})


@dataclass(frozen=True, eq=False)
class Kept:
    """What batches of one kind leave behind, by layer and operation."""

    bytes: int
    """Of the storages that the nodes saved."""
    counts: Counter[tuple[str, str]]
    """Nodes by layer and operation."""
    sizes: Counter[tuple[str, str]]
    """Bytes by layer and operation; a storage belongs to the node that saved it first."""
    spans: Spans
    held: Mapping[int, int]
    """By place in the batch: bytes that the node there holds, 0 where backward has emptied it."""

    def looks_like(self, nodes: Mapping[int, Any], begun: int) -> bool:
        """Whether each of `nodes` holds as much."""
        return all(
            (node := nodes.get(begun + place)) is not None and saved_bytes(node) == size
            for place, size in self.held.items()
        )


class Batch(NamedTuple):
    """What came to the graph between two looks at it."""

    start: int
    """Autograd's number of the first node that could belong to it."""
    stop: int
    """The number after its last one."""
    nodes: int
    """Of them those that are kept alive."""
    kept: Kept

    @property
    def bytes(self) -> int:
        """Bytes of the storages that these saved."""
        return self.kept.bytes

    def layer_of(self, number: int) -> str:
        """The layer in whose forward the node of that number was made."""
        return _layer(self.kept.spans, number - self.start)

    def table(self) -> pd.DataFrame:
        """As `GraphCensus.table`, of this batch alone."""
        return _table(Counter({self.kept: 1}))


class GraphCensus:
    """Counts what `held` keeps alive, one batch at a time: modules, tensors, lists and dicts of them.

    `update` walks only the nodes that are newer than the last walk (autograd numbers them in
    order), so its cost does not grow with the chain, and it keeps no reference to any of them.
    Parameters and their leaves are not counted: they live anyway. Call it after each step, when
    `backward` has freed what it frees, in the thread that computes: each thread numbers its own.
    A storage that several batches saved, the same input for one, counts in each of them.
    Tensors that were saved under `torch.autograd.graph.saved_tensors_hooks` are not seen. Where it is
    known which attributes of the modules may have a graph, `only` names them: a look is quicker.
    """

    def __init__(self, *held: Any, only: tuple[str, ...] | None = None):
        self._held, self._only = held, only
        self._modules = [module for thing in held if isinstance(thing, nn.Module)
                         for module in thing.modules()]  # fmt: skip
        self._names = {module: path for thing in held if isinstance(thing, nn.Module)
                       for path, module in thing.named_modules()}  # fmt: skip
        self._having = [m for m in self._modules if any(hasattr(m, n) for n in only or ())]
        self.parameters = {storage_of(p) for m in self._modules for p in m.parameters(False)}
        self._newest = -1
        self._begun = next_number()
        self._spans: list[tuple[int, str]] = []
        self._listened: list[tuple[nn.Module, Any, Any]] = []
        self._roots: set[int] = set()
        self._known: dict[tuple[Spans, int, int], list[Kept]] = {}
        self._times: Counter[Kept] = Counter()
        self.holders: tuple[str, ...] = ()
        """Names of the tensors that have a graph, as they were found last."""
        self.batches: list[Batch] = []
        """What each `update` found new and is still alive."""
        self.nodes = 0
        """Autograd nodes kept alive."""
        self.bytes = 0
        """Bytes of the storages that these nodes saved."""

    def update(self, *others: Any) -> Batch:
        """Add what came since the last call; `others` are held too, for this once.

        While what is held leads on to all that was held before, only what is new is walked; if
        something was detached or replaced, all is counted anew.
        """
        found = dict(self._graphs(*others))
        nodes, border = new_nodes(found.values(), self._newest)
        if not border.issuperset(self._roots):
            self._recount(found)
        self.holders = tuple(found)
        self._roots = {root._sequence_nr() for root in found.values()}
        older = {number: nodes.pop(number) for number in list(nodes) if number < self._begun}
        older = {number: node for number, node in older.items() if number > self._newest}
        if older:  # made before anybody looked
            kept = self._count(older, 0, self._begun, ())
            self._add(Batch(0, self._begun, len(older), kept), older)
        stop = next_number()
        spans = tuple((number - self._begun, name) for number, name in self._spans)
        batch = Batch(self._begun, stop, len(nodes), self._count(nodes, self._begun, stop, spans))
        if nodes:
            self._add(batch, nodes)
        self._begun = stop
        self._spans.clear()
        return batch

    def recount(self, *others: Any) -> None:
        """Walk the whole chain anew: after something of it was cut or freed."""
        found = dict(self._graphs(*others))
        self._recount(found)
        self.holders = tuple(found)
        self._roots = {root._sequence_nr() for root in found.values()}

    def _recount(self, found: Mapping[str, Any]) -> None:
        """Keep of the batches what `found` still leads to."""
        nodes, batches = newer_nodes(found.values(), -1), self.batches
        self.nodes, self.bytes, self._newest = 0, 0, -1
        self._times.clear()
        self.batches = []
        numbers = sorted(nodes)
        for old in batches:
            own = numbers[bisect_left(numbers, old.start) : bisect_left(numbers, old.stop)]
            if own:
                part = {number: nodes[number] for number in own}
                kept = self._count(part, old.start, old.stop, old.kept.spans)
                self._add(Batch(old.start, old.stop, len(part), kept), part)

    def _add(self, batch: Batch, nodes: Mapping[int, Any]) -> None:
        self.batches.append(batch)
        self._times[batch.kept] += 1
        self.nodes += batch.nodes
        self.bytes += batch.bytes
        self._newest = max(nodes)

    def table(self) -> pd.DataFrame:
        """Columns layer, operation (autograd's name of the node), nodes and bytes; most bytes first.

        Layers are names of modules, known for what was computed while `watch` listened.
        """
        return _table(self._times)

    def verdict(self) -> str:
        """One sentence: whether a graph is kept, by what, and what a batch adds."""
        if not self.holders:
            return _("No graph is kept from batch to batch.")
        return _(
            "A graph is kept: {nodes:,} nodes with {size:,} bytes. Held by {holders}. Detach what is "
            "kept, or compute it under no_grad."
        ).format(nodes=self.nodes, size=self.bytes, holders=_some(self.holders, 4))

    def listen(self) -> None:
        """Note from now on in which layer a node is made (modules without children), until `close`.

        Each layer gets a forward of its own instead of a hook, which costs less.
        """
        for module in self._modules:
            if not any(True for _child in module.children()):
                own, before = vars(module).get("forward"), module.forward
                module.forward = partial(self._noting, self._names[module], before)
                self._listened.append((module, module.forward, own))

    def close(self) -> None:
        """Give the layers their own forward back."""
        for module, ours, own in self._listened:
            if vars(module).get("forward") is ours:
                del module.forward
                if own is not None:
                    module.forward = own
        self._listened.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _noting(self, name: str, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self._spans.append((next_number(), name))
        result = forward(*args, **kwargs)
        self._spans.append((next_number(), OUTSIDE))
        return result

    def _count(self, nodes: Mapping[int, Any], start: int, stop: int, spans: Spans) -> Kept:
        """What `nodes` hold; batches alike are counted once, which keeps looking cheap.

        Alike are those whose layers ran at the same numbers, that made and left as many nodes, each
        of which holds as many bytes.
        """
        alike = self._known.setdefault((spans, stop - start, len(nodes)), [])
        for kept in alike:
            if kept.looks_like(nodes, start):
                return kept
        alike.append(_count(nodes, start, spans, self.parameters))
        return alike[-1]

    def _graphs(self, *others: Any) -> Iterator[tuple[str, Any]]:
        """Name and ``grad_fn`` of every tensor that is held and has one."""
        attributes = self._attributes() if self._only is None else self._chosen(self._only)
        for module, name, value in attributes:
            yield from _graphs_in(value, self._names[module], name)
        for thing in (*self._held, *others):
            if not isinstance(thing, nn.Module):
                yield from _graphs_in(thing)

    def _attributes(self) -> Iterator[tuple[nn.Module, str, Any]]:
        """Module, name and value of all attributes that may hold a tensor."""
        for module in self._modules:
            for name, value in (*vars(module).items(), *module._buffers.items()):
                if type(value) in _PLAIN or name in _STANDARD:
                    continue
                if isinstance(value, list | tuple) and _PLAIN.issuperset(map(type, value)):
                    continue
                yield module, name, value

    def _chosen(self, names: tuple[str, ...]) -> Iterator[tuple[nn.Module, str, Any]]:
        for module in self._having:
            for name in names:
                yield module, name, getattr(module, name, None)


def _table(times: Counter[Kept]) -> pd.DataFrame:
    counts: Counter[tuple[str, str]] = Counter()
    sizes: Counter[tuple[str, str]] = Counter()
    for kept, number in times.items():
        for key, count in kept.counts.items():
            counts[key] += number * count
            sizes[key] += number * kept.sizes[key]
    rows = [(*key, count, sizes[key]) for key, count in counts.items()]
    frame = pd.DataFrame(rows, columns=["layer", "operation", "nodes", "bytes"])
    return frame.sort_values(["bytes", "nodes"], ascending=False, ignore_index=True)


def _count(nodes: Mapping[int, Any], begun: int, spans: Spans, skip: set[int]) -> Kept:
    """Bytes and nodes by layer and operation, each storage where it was saved first."""
    counts: Counter[tuple[str, str]] = Counter()
    sizes: Counter[tuple[str, str]] = Counter()
    seen, held = set(skip), {}
    for number, node in sorted(nodes.items()):
        place = number - begun
        key = _layer(spans, place), node.name()
        counts[key] += 1
        for saved in saved_tensors(node):
            storage = saved.tensor.untyped_storage()
            if storage._cdata not in seen:
                seen.add(storage._cdata)
                sizes[key] += storage.nbytes()
        if holding(node):
            held[place] = saved_bytes(node)
    return Kept(sizes.total(), counts, sizes, spans, held)


def census(*held: Any) -> GraphCensus:
    """What modules, tensors, lists and dicts keep alive right now: nodes, bytes, `table`, `verdict`.

    >>> census(nn.BatchNorm1d(3)).bytes
    0
    """
    found = GraphCensus(*held)
    found.update()
    return found


def watch(*held: Any, only: tuple[str, ...] | None = None) -> GraphCensus:
    """A census that notes in which layer each node is made; use it as a context manager.

    Call `update` after each step. A layer is a module without children; what it computes from its
    own state in its forward, running averages for one, belongs to it.
    """
    found = GraphCensus(*held, only=only)
    found.listen()
    return found


def _graphs_in(value: Any, *path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Tensor):
        if value.grad_fn is not None:
            yield ".".join(filter(None, path)), value.grad_fn
    elif isinstance(value, dict):
        for name, entry in value.items():
            yield from _graphs_in(entry, *path, str(name))
    elif isinstance(value, list | tuple):
        for number, entry in enumerate(value):
            yield from _graphs_in(entry, *path, str(number))


def _layer(spans: Spans, place: int) -> str:
    """The layer that made the node of that place in its batch."""
    at = bisect_right(spans, place, key=lambda span: span[0]) - 1
    return spans[at][1] if at >= 0 else OUTSIDE


def _some(names: tuple[str, ...], count: int) -> str:
    shown = ", ".join(names[:count])
    left = len(names) - count
    return _("{names} and {n} more").format(names=shown, n=left) if left > 0 else shown


def release(model: nn.Module) -> None:
    """Cut the graph off the running statistics of `model` (their values stay)."""
    for layer in model.modules():
        for name in STATISTICS:
            value = getattr(layer, name, None)
            if isinstance(value, Tensor) and value.grad_fn is not None:
                setattr(layer, name, value.detach())


def device_bytes(device: torch.device) -> tuple[int, int]:
    """Bytes allocated and reserved on `device` by torch's allocator; (0, 0) on a CPU."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device), torch.cuda.memory_reserved(device)
    if device.type == "mps":
        return torch.mps.current_allocated_memory(), torch.mps.driver_allocated_memory()
    return 0, 0


def trim() -> None:
    """Ask glibc to give freed memory back to the system; does nothing where there is no glibc.

    https://man7.org/linux/man-pages/man3/malloc_trim.3.html
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
