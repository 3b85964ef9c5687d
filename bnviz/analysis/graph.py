"""The nodes of an autograd graph: their numbers, who leads to whom, and what each has saved.

Autograd numbers the nodes of a thread in the order of their making
(the `seq` of https://docs.pytorch.org/docs/stable/autograd.html#torch.autograd.profiler.emit_nvtx).
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

_LEAF_NUMBER = 2**62  # a leaf's AccumulateGrad has the largest number there is
_RAW = "_raw_saved_"
_names: dict[Any, list[str]] = {}  # by type of node: the attributes that hold tensors


class Saved(NamedTuple):
    """A tensor that a node saved for its backward pass."""

    name: str
    tensor: Tensor


def holding(node: Any) -> list[str]:
    """The attributes in which a node of this type may hold tensors."""
    kind = type(node)
    if kind not in _names:
        _names[kind] = [name for name in dir(kind) if name.startswith(_RAW)]
    return _names[kind]


def saved_tensors(node: Any) -> list[Saved]:
    """The tensors that an autograd node holds for its backward pass; none once that has freed them."""
    found = []
    for name in holding(node):
        raw = getattr(node, name)
        for entry in raw if isinstance(raw, tuple) else (raw,):
            # `data` is None once freed; `_saved_…` would raise instead, which takes 12 µs.
            tensor = None if entry is None else entry.data
            if tensor is not None:
                found.append(Saved(name.removeprefix(_RAW), tensor))
    return found


def saved_bytes(node: Any) -> int:
    """Bytes of what `saved_tensors` gives, without names: this is asked of each node at each look."""
    size = 0
    for name in holding(node):
        raw = getattr(node, name)
        for entry in raw if type(raw) is tuple else (raw,):
            if entry is not None and (tensor := entry.data) is not None:
                size += tensor.untyped_storage().nbytes()
    return size


def newer_nodes(roots: Iterable[Any], than: int) -> dict[int, Any]:
    """All nodes behind `roots` with a number above `than`, by number; leaves are left out."""
    return new_nodes(roots, than)[0]


def new_nodes(roots: Iterable[Any], than: int) -> tuple[dict[int, Any], set[int]]:
    """As `newer_nodes`; and the numbers of the older nodes at which the walk turned back."""
    stack, found, border = list(roots), {}, set()
    while stack:
        node = stack.pop()
        number = node._sequence_nr()
        if number <= than:
            border.add(number)
        elif number < _LEAF_NUMBER and number not in found:
            found[number] = node
            stack += [function for function, _input in node.next_functions if function is not None]
    return found, border


def next_number() -> int:
    """The number that the next node of this thread will have."""
    return torch._C._autograd._get_sequence_nr()


def storage_of(tensor: Tensor) -> int:
    """Tells storages apart, also on the meta device, where all have the address 0."""
    return tensor.untyped_storage()._cdata
