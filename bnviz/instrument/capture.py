"""Seeing what goes into the layers of any module and what comes out, and giving them back.

The one way in which this project looks into a forward pass::

    with capture(model.norm_layers()) as seen:
        model(x)
    seen.inputs["conv1"], seen.outputs["conv1"]

What is to happen at each call stands in a `ForwardHook`; `hooked` calls it while it lasts. The hooks
of a module stand in the place of its own ``forward``, because a hook of torch sends each call through
the long way of `torch.nn.Module.__call__` (1 % of a training step of LeNet at batch 16), and
`torch.utils.module_tracker`, which knows the names of the modules at work, 50 %.
A forward hook of torch that changes an output comes after these.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

from torch import nn

__all__ = ["Captured", "ForwardHook", "add_hook", "capture", "hooked", "remove_hook"]


class ForwardHook:
    """What can happen at a call of a layer; these methods do nothing."""

    def before(self, layer: str, inputs: tuple[Any, ...]) -> None:
        """The forward of `layer` begins; what is raised here ends the pass."""

    def after(self, layer: str, inputs: tuple[Any, ...], output: Any) -> Any:
        """It returned `output`. What this returns takes the output's place, unless it is None."""

    def over(self, layer: str) -> None:
        """It is over, also when it failed."""


class Captured(ForwardHook):
    """What entered and what left each layer in its last call, by name, as it is in the graph."""

    def __init__(self) -> None:
        self.inputs: dict[str, Any] = {}
        """The first positional one, None where there is none."""
        self.outputs: dict[str, Any] = {}

    def after(self, layer: str, inputs: tuple[Any, ...], output: Any) -> None:
        """Keep both."""
        self.inputs[layer], self.outputs[layer] = inputs[0] if inputs else None, output


@contextmanager
def capture(layers: Mapping[str, nn.Module]) -> Iterator[Captured]:
    """While it lasts, inputs and outputs of the named layers are kept; the layers are given back."""
    seen = Captured()
    with hooked(layers.items(), seen):
        yield seen


@contextmanager
def hooked(layers: Iterable[tuple[str, nn.Module]], hook: ForwardHook) -> Iterator[None]:
    """While it lasts `hook` is called with each call of the layers; then they are given back.

    `layers` are pairs as `torch.nn.Module.named_modules` has them. Hooks of the same layer are called
    in the order in which they came.
    """
    layers = list(layers)
    try:
        for name, module in layers:
            add_hook(module, hook, name)
        yield
    finally:
        for _name, module in layers:
            remove_hook(module, hook)


def add_hook(module: nn.Module, hook: ForwardHook, name: str) -> None:
    """Call `hook` with each call of `module`, by that name, until `remove_hook`."""
    if not isinstance(vars(module).get("forward"), _HookedForward):
        module.forward = _HookedForward(module)
    cast(_HookedForward, module.forward).hooks.setdefault(hook, name)


def remove_hook(module: nn.Module, hook: ForwardHook) -> None:
    """Call `hook` no more; with the last hook the module gets its own forward back."""
    forward = vars(module).get("forward")
    if isinstance(forward, _HookedForward):
        forward.hooks.pop(hook, None)
        if not forward.hooks:
            forward.give_back()


class _HookedForward:
    """Stands in the place of a module's own forward while it has hooks."""

    def __init__(self, module: nn.Module):
        self._module = module
        self._own = vars(module).get("forward")  # most have that of their class
        self._forward = module.forward
        self.hooks: dict[ForwardHook, str] = {}

    def give_back(self) -> None:
        """Give the module its own forward."""
        del self._module.forward
        if self._own is not None:
            self._module.forward = self._own

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        hooks = self.hooks.items()
        try:
            for hook, name in hooks:
                hook.before(name, args)
            output = self._forward(*args, **kwargs)
            for hook, name in hooks:
                replaced = hook.after(name, args, output)
                if replaced is not None:
                    output = replaced
            return output
        finally:
            for hook, name in hooks:
                hook.over(name)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """A copy of the module is its own: it has no hooks."""
        copied = memo[id(self._module)]
        if self._own is None:
            return partial(type(copied).forward, copied)
        return copy.deepcopy(self._own, memo)
