"""The nodes of an autograd graph: their numbers, who leads to whom, and what each has saved.

Autograd numbers the nodes of a thread in the order of their making
(the `seq` of https://docs.pytorch.org/docs/stable/autograd.html#torch.autograd.profiler.emit_nvtx).
"""

from collections.abc import Callable, Iterable, Mapping, Set
from operator import attrgetter
from typing import Any, NamedTuple

import torch
from torch import Tensor

LEAF_NUMBER = 2**62
"""A leaf's AccumulateGrad has the largest number there is, above this."""
next_number: Callable[[], int] = torch._C._autograd._get_sequence_nr
"""The number that the next node of this thread will have."""
_RAW = "_raw_saved_"


class Saved(NamedTuple):
    """A tensor that a node saved for its backward pass."""

    name: str
    tensor: Tensor


class _Holding(dict[type, tuple[list[str], Callable[[Any], Any] | None]]):
    """By type of node: the attributes that may hold tensors, and what gives all of them at once."""

    def __missing__(self, kind: type) -> tuple[list[str], Callable[[Any], Any] | None]:
        names = [name for name in dir(kind) if name.startswith(_RAW)]
        self[kind] = names, attrgetter(*names) if names else None
        return self[kind]


_holding = _Holding()


def saved_tensors(node: Any) -> list[Saved]:
    """The tensors that an autograd node holds for its backward pass; none once that has freed them.

    What was packed into something else by `torch.autograd.graph.saved_tensors_hooks` is no tensor,
    and left out.
    """
    found = []
    for name in _holding[type(node)][0]:
        raw = getattr(node, name)
        for entry in raw if isinstance(raw, tuple) else (raw,):
            # `data` is None once freed; `_saved_…` would raise instead, which takes 12 µs.
            tensor = None if entry is None else entry.data
            if isinstance(tensor, Tensor):
                found.append(Saved(name.removeprefix(_RAW), tensor))
    return found


class Held(NamedTuple):
    """What nodes hold for their backward passes."""

    bytes: dict[int, int]
    """By number of those nodes whose type can hold tensors."""
    pattern: tuple[tuple[int, ...], tuple[int, ...]]
    """Of the storages in turn their sizes, and which of them are the same (equal numbers) or live
    anyway (-1): what tells apart nodes that hold other things of the same size."""


def held_bytes(nodes: Mapping[int, Any], anyway: Set[int] = frozenset()) -> Held:
    """What `saved_tensors` gives, added up: this is asked of every node at each look.

    `anyway` tells the storages that live anyway (`storages`), as those of parameters do.
    """
    held: dict[int, int] = {}
    which: list[int] = []
    sizes: list[int] = []
    for number, node in nodes.items():
        _names, get = _holding[type(node)]
        if get is None:
            continue
        size, raws = 0, get(node)
        entries = list(raws) if type(raws) is tuple else [raws]
        for entry in entries:
            if type(entry) is tuple:
                entries += entry
            elif entry is not None and isinstance(tensor := entry.data, Tensor):
                try:
                    storage = tensor.untyped_storage()
                    which.append(storage._cdata)
                    count = storage.nbytes()
                    sizes.append(count)
                    size += count
                except NotImplementedError:  # a sparse one
                    parts = storages(tensor)
                    which += parts.keys()
                    sizes += parts.values()
                    size += sum(parts.values())
        held[number] = size
    first = {one: place for place, one in enumerate(dict.fromkeys(which))}
    for one in anyway & first.keys():
        first[one] = -1
    return Held(held, (tuple(sizes), tuple([first[one] for one in which])))


def storages(tensor: Tensor) -> dict[int, int]:
    """Bytes of the storages of a tensor by what tells them apart, also on the meta device.

    One as a rule; a sparse tensor has those of its indices and values, one that is not initialized
    yet (`torch.nn.parameter.UninitializedParameter`) has none.
    """
    try:
        parts = [tensor.untyped_storage()]
    except ValueError:
        parts = []
    except NotImplementedError:
        parts = [part.untyped_storage() for part in _parts_of_sparse(tensor)]
    return {storage._cdata: storage.nbytes() for storage in parts}


def _parts_of_sparse(tensor: Tensor) -> list[Tensor]:
    if tensor.layout == torch.sparse_coo:
        return [tensor._indices(), tensor._values()]
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        return [tensor.crow_indices(), tensor.col_indices(), tensor.values()]
    if tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
        return [tensor.ccol_indices(), tensor.row_indices(), tensor.values()]
    return []


def first_to_save(node: Any, seen: set[int]) -> int:
    """Bytes of the storages that `node` holds and that are not `seen`, which gets them."""
    size = 0
    for saved in saved_tensors(node):
        for storage, count in storages(saved.tensor).items():
            if storage not in seen:
                seen.add(storage)
                size += count
    return size


def newer_nodes(roots: Iterable[Any], than: int) -> dict[int, Any]:
    """All nodes behind `roots` with a number above `than`, by number; leaves are left out."""
    return walk({root._sequence_nr(): root for root in roots}, than).nodes


class Walk(NamedTuple):
    """Nodes by number: those that are newer, and the older ones at which the walk turned back."""

    nodes: dict[int, Any]
    border: dict[int, Any]
    under: set[int]
    """Numbers of the roots to which another root leads."""


def walk(roots: Mapping[int, Any], than: int) -> Walk:
    """Along ``next_functions`` from `roots`, by number, while the numbers are above `than`."""
    nodes: dict[int, Any] = {}
    border: dict[int, Any] = {}
    under = set()
    for start, root in sorted(roots.items(), reverse=True):
        if start in nodes or start in border:
            under.add(start)  # inputs have smaller numbers, so a newer root came by
            continue
        reached = [root]
        for node in reached:  # which grows meanwhile
            number = node._sequence_nr()
            if number <= than:
                border[number] = node
            elif number < LEAF_NUMBER and number not in nodes:
                nodes[number] = node
                for function, _input in node.next_functions:
                    if function is not None:
                        reached.append(function)
    return Walk(nodes, border, under)
