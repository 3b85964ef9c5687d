"""What running statistics keep alive: autograd nodes and the tensors that those saved.

A statistic that was computed with gradients on and not detached has a ``grad_fn``. Along its
``next_functions`` hang the nodes of every batch it was averaged over, and each node holds the
tensors it saved for a backward pass, until that pass frees them
(https://docs.pytorch.org/docs/stable/notes/autograd.html#saved-tensors).
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from bnviz.nn.state import STATISTICS


class GraphCensus:
    """Counts what the running statistics of `model` keep alive, one step at a time.

    `update` walks only the nodes that are newer than the last walk (autograd numbers them in
    order), so its cost does not grow with the chain, and it keeps no reference to any of them.
    Parameters are not counted: they live anyway. Call it after each forward pass that may have
    moved the statistics, before the weights change.
    """

    def __init__(self, model: nn.Module):
        self._parameters = list(model.parameters())
        self._layers = [
            layer for layer in model.modules() if any(hasattr(layer, n) for n in STATISTICS)
        ]
        self._newest = -1
        self.nodes = 0
        """Autograd nodes kept alive."""
        self.bytes = 0
        """Bytes of the storages that these nodes saved."""

    def update(self) -> None:
        """Add what came since the last call; a chain that was cut counts as nothing again."""
        roots = [
            value.grad_fn
            for layer in self._layers
            for name in STATISTICS
            if isinstance(value := getattr(layer, name, None), Tensor) and value.grad_fn is not None
        ]
        if not roots:
            self.nodes = self.bytes = 0
            return
        skip = {p.untyped_storage().data_ptr() for p in self._parameters}
        nodes, size, newest = _walk(roots, self._newest, skip)
        self.nodes += nodes
        self.bytes += size
        self._newest = newest


def _walk(roots: Iterable[Any], newer_than: int, skip: set[int]) -> tuple[int, int, int]:
    """Count nodes with a sequence number above `newer_than` and the bytes they saved."""
    stack, seen, storages = list(roots), set(), set(skip)
    size, newest = 0, newer_than
    while stack:
        node = stack.pop()
        if node in seen or not hasattr(node, "_sequence_nr"):
            continue
        number = node._sequence_nr()
        # A leaf's AccumulateGrad node carries the largest number there is; it belongs to the leaf.
        if number <= newer_than or hasattr(node, "variable"):
            continue
        seen.add(node)
        newest = max(newest, number)
        for tensor in saved_tensors(node):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in storages:
                storages.add(storage.data_ptr())
                size += storage.nbytes()
        stack.extend(function for function, _input in node.next_functions if function is not None)
    return len(seen), size, newest


# Per type of node: the names under which it may hold tensors; numbers and shapes are weeded out
# the first time they are seen.
_names: dict[Any, list[str]] = {}
_NUMBERS = (bool, int, float, str, torch.dtype, torch.device, torch.memory_format)


def saved_tensors(node: Any) -> list[Tensor]:
    """The tensors that an autograd node holds for its backward pass; none once it was freed."""
    kind = type(node)
    if kind not in _names:
        _names[kind] = [n for n in dir(kind) if n.startswith("_saved_") or n == "saved_tensors"]
    found: list[Tensor] = []
    for name in list(_names[kind]):
        try:
            value = getattr(node, name)
        except RuntimeError:  # torch refuses: backward has freed all that the node had saved
            break
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, tuple | list) and value and isinstance(value[0], Tensor):
            found.extend(item for item in value if isinstance(item, Tensor))
        elif isinstance(value, _NUMBERS) or (
            isinstance(value, tuple | list) and value and isinstance(value[0], _NUMBERS)
        ):
            _names[kind].remove(name)
    return found


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
