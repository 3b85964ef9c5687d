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

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Self

import pandas as pd
from torch import Tensor, nn

from bnviz.census.batch_footprint import (
    NOTHING,
    OUTSIDE,
    Batch,
    Footprint,
    Spans,
    footprint_of,
    table_of,
)
from bnviz.census.graph import held_bytes, newer_nodes, next_number, storages, walk
from bnviz.census.tensor_search import graphs_in, refuse_what_holds_nothing, search
from bnviz.i18n import _
from bnviz.instrument.capture import ForwardHook, add_hook, remove_hook
from bnviz.nn.state import STATISTICS

PROBED = 8
"""At each look so many nodes are followed down from the newest old one: was one of them emptied?"""


class GraphCensus(ForwardHook):
    """Counts what `held` keeps alive, one batch at a time.

    `held` are modules, tensors, collections of them and other objects, in whose attributes is looked
    (`bnviz.census.tensor_search.search`). Of a module also the gradients of its parameters count, if they
    have a graph (`create_graph`).

    `update` looks at all tensors that are held, and walks only the nodes that are newer than the
    last walk (autograd numbers them in order), so its cost does not grow with the chain behind
    them; it keeps no reference to any (torch keeps the Python objects of what was looked at, some 120
    bytes a node, as long as that lives). Parameters and buffers are not counted: they live anyway.
    Call it after each step, when `backward` has freed what it frees, in the thread that computes:
    each thread numbers its own. Where `backward` goes back over batches that were counted before,
    that is noticed by their newest nodes and all is counted again; `recount` does so at once.
    A storage that several batches saved, the same input for one, counts in each of them.
    Tensors that were packed by `torch.autograd.graph.saved_tensors_hooks` (checkpointing, offloading)
    are not seen. Where it is known which attributes of the modules may have a graph, `only` names
    them: a look is quicker.

    Raises TypeError for what can hold no tensor.
    """

    def __init__(self, *held: Any, only: tuple[str, ...] | None = None):
        refuse_what_holds_nothing(held)
        self._held, self._only = held, only
        self._hooked = False
        self._names: dict[nn.Module, str] = {}
        self._living: list[dict[str, Any]] = []
        self._find()
        self._chosen = [
            (vars(module), module._buffers, name, f"{path}.{name}" if path else name)
            for module, path in self._names.items()
            for name in only or ()
            if hasattr(module, name)
        ]
        self._newest = -1
        self._begun = next_number()
        self._spans: list[tuple[int, str]] = []
        self._tops: set[int] = set()  # numbers of the tensors held to which no other of them leads
        self._under: set[int] = set()
        self._known: dict[Any, Footprint] = {}
        self._times: Counter[Footprint] = Counter()
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
        something was detached, replaced or emptied, all is counted again.
        """
        return self._look(others)

    def recount(self, *others: Any) -> None:
        """Walk the whole chain again: after something of it was cut or freed."""
        self._look(others, whole=True)

    def _look(self, others: tuple[Any, ...], *, whole: bool = False) -> Batch:
        refuse_what_holds_nothing(others)
        found = self._graphs(others)
        if not found and not self.batches:
            return self._nothing()
        roots = {graph._sequence_nr(): graph for _name, graph in found}
        nodes, border, under = walk(roots, self._newest)
        known = self._tops | self._under
        strange = any(number <= self._newest for number in roots.keys() - known)
        if whole or strange or not self._tops.issubset(border):
            self._recount(roots.values())
            self._under.clear()
        self.holders = tuple(dict.fromkeys(name for name, _graph in found))
        self._tops = roots.keys() - under - self._under  # what was under another still is
        self._under = roots.keys() - self._tops
        if nodes and min(nodes) < self._begun:
            nodes = self._add_late(nodes)
        batch = self._add(nodes, self._begun, next_number(), tuple(self._spans))
        self._begun = batch.stop
        self._spans.clear()
        if self._emptied(border):
            self._recount(roots.values())
        return batch

    def _add_late(self, nodes: dict[int, Any]) -> dict[int, Any]:
        """Add what was made before anybody looked, or before the last look and not held then.

        Returns those of `nodes` that are newer.
        """
        since, late = self._newest + 1, sorted(number for number in nodes if number < self._begun)
        self._add({n: nodes[n] for n in late[bisect_left(late, since) :]}, since, self._begun, ())
        return {number: node for number, node in nodes.items() if number >= self._begun}

    def _nothing(self) -> Batch:
        """Nothing has a graph, as before: the cheapest look."""
        self._tops, self._under, self.holders = set(), set(), ()
        start, self._begun = self._begun, next_number()
        self._spans.clear()
        return Batch(start, self._begun, 0, NOTHING)

    def _emptied(self, border: Mapping[int, Any]) -> bool:
        """Whether `backward` has freed what the newest old node held, or one close behind it."""
        stack = [border[max(border)]] if border else []
        for _step in range(PROBED):
            if not stack:
                break
            node = stack.pop()
            number = node._sequence_nr()
            size = self._held_by(number)
            if size:
                return held_bytes({number: node}).bytes[number] != size
            stack += [function for function, _input in node.next_functions if function is not None]
        return False

    def _held_by(self, number: int) -> int:
        """Bytes that the node of that number held when it was counted."""
        for batch in reversed(self.batches):
            if batch.start <= number:
                return batch.kept.held.get(number - batch.start, 0)
        return 0

    def _recount(self, graphs: Iterable[Any]) -> None:
        """Keep of the batches what `graphs` still lead to."""
        nodes, batches = newer_nodes(graphs, -1), self.batches
        self.nodes, self.bytes, self._newest = 0, 0, -1
        self._times.clear()
        self.batches = []
        numbers, done = sorted(nodes), 0
        for old in batches:
            first = max(bisect_left(numbers, old.start), done)
            if between := numbers[done:first]:  # held only now
                self._add({n: nodes[n] for n in between}, between[0], old.start, ())
            done = max(bisect_left(numbers, old.stop), first)
            left = {n: nodes[n] for n in numbers[first:done]}
            self._add(left, old.start, old.stop, old.kept.spans)

    def _add(self, nodes: Mapping[int, Any], start: int, stop: int, spans: Spans) -> Batch:
        """These nodes as a batch, if there are any."""
        batch = Batch(start, stop, len(nodes), self._count(nodes, start, spans))
        if nodes:
            self.batches.append(batch)
            self._times[batch.kept] += 1
            self.nodes += batch.nodes
            self.bytes += batch.bytes
            self._newest = max(nodes)
        return batch

    def table(self) -> pd.DataFrame:
        """Columns layer, operation (autograd's name of the node), nodes and bytes; most bytes first.

        Layers are names of modules, known for what was computed under `watch`.
        """
        return table_of(self._times)

    def verdict(self) -> str:
        """One sentence: whether a graph is kept, by what, and what a batch adds."""
        if not self.holders:
            return _("No graph is kept from batch to batch.")
        return _(
            "A graph is kept: {nodes:,} nodes with {size:,} bytes. Held by {holders}. Detach what is "
            "kept, or compute it under no_grad."
        ).format(nodes=self.nodes, size=self.bytes, holders=_some(self.holders, 4))

    def hook_layers(self) -> None:
        """Note from now on in which layer a node is made (modules without children), until `close`."""
        self._hooked = True
        for module, name in self._names.items():
            if not any(True for _child in module.children()):
                add_hook(module, self, name)

    def close(self) -> None:
        """Give the layers their own forward back, unless they have other hooks."""
        self._hooked = False
        for module in self._names:
            remove_hook(module, self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def before(self, layer: str, inputs: object = ()) -> None:
        """From now on nodes are made in `layer`."""
        self._spans.append((next_number() - self._begun, layer))

    def over(self, layer: str) -> None:
        """From now on nodes are made in no layer."""
        self.before(OUTSIDE)

    def alive_anyway(self) -> set[int]:
        """What tells apart the storages of all parameters and buffers."""
        tensors = [t for own in self._living for t in own.values() if t is not None]
        try:
            return {tensor.untyped_storage()._cdata for tensor in tensors}
        except (NotImplementedError, ValueError):  # sparse ones, or not initialized yet
            return {storage for tensor in tensors for storage in storages(tensor)}

    def _find(self, others: tuple[Any, ...] = ()) -> list[tuple[str, Any]]:
        """Search all that is held; where layers are hooked, modules that were added are too."""
        before = self._names
        self._names, graphs = search((*self._held, *others))
        if self._names.keys() != before.keys():
            self._living = [own for m in self._names for own in (m._parameters, m._buffers)]
            if self._hooked:
                for module in before.keys() - self._names.keys():
                    remove_hook(module, self)
                self.hook_layers()
        return graphs

    def _count(self, nodes: Mapping[int, Any], start: int, spans: Spans) -> Footprint:
        """What `nodes` hold; batches alike are counted once, which keeps looking cheap.

        Alike are those whose layers ran at the same numbers and left nodes of the same types at the
        same places, which hold storages of the same sizes, shared in the same way.
        """
        if not nodes:
            return NOTHING
        anyway = self.alive_anyway()
        held, pattern = held_bytes(nodes, anyway)
        places = tuple([number - start for number in nodes])
        alike = spans, places, tuple(map(type, nodes.values())), pattern
        kept = self._known.get(alike)
        if kept is None:
            by_place = {number - start: size for number, size in held.items()}
            kept = self._known[alike] = footprint_of(nodes, start, spans, by_place, anyway)
        return kept

    def _graphs(self, others: tuple[Any, ...]) -> list[tuple[str, Any]]:
        """Name and ``grad_fn`` of every tensor that is held and has one."""
        if self._only is None:
            return self._find(others)
        found = [
            (name, graph)
            for attribute, value in self._values()
            for name, graph in graphs_in(value, attribute)
        ]
        for thing in (*self._held, *others):
            if not isinstance(thing, nn.Module):
                found += graphs_in(thing)
        return found

    def _values(self) -> list[tuple[str, Any]]:
        """The same of the attributes in `only`, be they buffers just now or not."""
        return [
            (full, own[name] if name in own else buffers.get(name))
            for own, buffers, name, full in self._chosen
        ]


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
    found.hook_layers()
    return found


def _some(names: tuple[str, ...], count: int) -> str:
    shown = ", ".join(names[:count])
    left = len(names) - count
    return _("{names} and {n} more").format(names=shown, n=left) if left > 0 else shown


def detach_statistics(model: nn.Module) -> None:
    """Cut the graph off the running statistics of `model` (their values stay)."""
    for layer in model.modules():
        for name in STATISTICS:
            value = getattr(layer, name, None)
            if isinstance(value, Tensor) and value.grad_fn is not None:
                setattr(layer, name, value.detach())
