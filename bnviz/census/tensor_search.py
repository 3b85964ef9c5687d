"""Finding what is held: modules and tensors in collections, in modules, in attributes of objects."""

import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bnviz.i18n import _

COLLECTIONS = (Mapping, list, tuple, set, frozenset, deque)
PLAIN = frozenset({bool, int, float, str, type(None), torch.dtype, torch.device})
"""Types of what can hold no tensor."""
OBJECTS_DEEP = 2
"""Attributes of an object and of the objects in them are looked into, not those of a third."""
# Their objects are not looked into unless they are held themselves: a logger leads to all loggers.
_CLOSED = (sys.stdlib_module_names - {"types"}) | {"torch", "torchvision", "numpy", "pandas"}
_STANDARD = frozenset({*vars(nn.Module()), "forward"})


def refuse_what_holds_nothing(held: Iterable[Any]) -> None:
    """Raise TypeError for what can hold no tensor: a number, a class, an iterator."""
    for thing in held:
        if isinstance(thing, (Tensor, *COLLECTIONS)):
            continue
        if hasattr(thing, "__dict__") and not isinstance(thing, type):
            continue
        raise TypeError(
            _(
                "held: got {thing!r}, which can hold no tensor; allowed: modules, tensors, collections "
                "of tensors, objects with attributes."
            ).format(thing=thing)
        )


def search(held: Iterable[Any]) -> tuple[dict[nn.Module, str], list[tuple[str, Any]]]:
    """All modules in `held` with their names, and name and ``grad_fn`` of every tensor that has one.

    A name is the way there, a top-level thing has none. Of a module its attributes and buffers are
    looked at, the gradients of its parameters, and all that is in its attributes.
    """
    modules: dict[nn.Module, str] = {}
    graphs: list[tuple[str, Any]] = []
    todo = [("", _opened(thing)) for thing in held]
    for path, thing in todo:  # which grows meanwhile
        for name, found in tensors_and_modules(thing, path):
            if isinstance(found, Tensor):
                if found.grad_fn is not None:
                    graphs.append((name, found.grad_fn))
            elif found not in modules:
                _look_into(found, name, modules, graphs, todo)
    return modules, graphs


def _look_into(
    module: nn.Module,
    path: str,
    modules: dict[nn.Module, str],
    graphs: list[tuple[str, Any]],
    todo: list[tuple[str, Any]],
) -> None:
    """Add a module and those in it to `modules`, their tensors to `graphs`, the rest to `todo`."""
    for name, each in module.named_modules(prefix=path):
        if each in modules:
            continue
        modules[each] = name
        for full, value in _attributes(each, f"{name}." if name else ""):
            if not isinstance(value, Tensor):
                todo.append((full, value))
            elif value.grad_fn is not None:
                graphs.append((full, value.grad_fn))


def _attributes(module: nn.Module, before: str) -> Iterator[tuple[str, Any]]:
    """Name and value of all attributes of a module that may hold a tensor with a graph."""
    for name, value in vars(module).items():
        if name in _STANDARD or type(value) in PLAIN:
            continue
        if type(value) is tuple and PLAIN.issuperset(map(type, value)):
            continue
        yield before + name, value
    for name, buffer in module._buffers.items():
        if buffer is not None:
            yield before + name, buffer
    for name, parameter in module._parameters.items():
        if parameter is not None and parameter.grad is not None:
            yield f"{before}{name}.grad", parameter.grad


def graphs_in(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Name and ``grad_fn`` of every tensor that has one and is found without looking into modules."""
    for name, found in tensors_and_modules(_opened(value), path):
        if isinstance(found, Tensor) and found.grad_fn is not None:
            yield name, found.grad_fn


def tensors_and_modules(value: Any, path: str = "") -> Iterator[tuple[str, Tensor | nn.Module]]:
    """Name and value of every tensor and module: `value` itself, or in collections and objects in it.

    Looks into mappings, lists, tuples, sets and deques however deep, and into the attributes of
    objects, each once; not into modules.
    """
    stack, seen = [(path, value, OBJECTS_DEEP)], set()
    while stack:
        name, value, deep = stack.pop()
        if isinstance(value, Tensor | nn.Module):
            yield name, value
            continue
        if isinstance(value, Mapping):
            entries: Iterable[tuple[Any, Any]] = value.items()
        elif isinstance(value, COLLECTIONS):
            entries = enumerate(value)
        elif deep and _open(value):
            entries, deep = vars(value).items(), deep - 1
        else:
            continue
        if (id(value), deep) not in seen:
            seen.add((id(value), deep))
            inner = [(key, entry, deep) for key, entry in entries if type(entry) not in PLAIN]
            stack += [(f"{name}.{k}" if name else str(k), e, d) for k, e, d in reversed(inner)]


def _opened(thing: Any) -> Any:
    """What is held itself is looked into, whatever made it: an optimizer, a namespace."""
    as_it_is = isinstance(thing, (Tensor, nn.Module, *COLLECTIONS)) or not hasattr(
        thing, "__dict__"
    )
    return thing if as_it_is else vars(thing)


def _open(value: Any) -> bool:
    """Whether an object is one of the reader's own, whose attributes may hold something."""
    kind = type(value)
    return hasattr(value, "__dict__") and kind.__module__.partition(".")[0] not in _CLOSED
