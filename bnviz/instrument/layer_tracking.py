"""Listening to the layers of a model: which of them runs, and when it is over."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any, Protocol, cast

from torch import nn

OUTSIDE = ""
"""The layer of what was computed in no layer's forward, or before anybody listened."""


class Listener(Protocol):
    """Who wants to know."""

    def note(self, layer: str) -> None:
        """From now on `layer` runs, or none (`OUTSIDE`)."""


class Noting:
    """The forward of a layer while somebody listens: notes when it begins and when it is over.

    It stands in the place of the module's own forward, which costs less than hooks.
    """

    def __init__(self, module: nn.Module):
        self._module = module
        self._own = vars(module).get("forward")  # most have that of their class
        self._forward = module.forward
        self.listeners: dict[Listener, str] = {}

    @classmethod
    def of(cls, module: nn.Module) -> Noting:
        """The one of `module`, put there if there is none."""
        if not isinstance(vars(module).get("forward"), cls):
            module.forward = cls(module)
        return cast(Noting, module.forward)

    @classmethod
    def leave(cls, module: nn.Module, listener: Listener) -> None:
        """`listener` listens no more; the last gives the module its own forward back."""
        noting = vars(module).get("forward")
        if isinstance(noting, cls):
            noting.listeners.pop(listener, None)
            if not noting.listeners:
                del module.forward
                if noting._own is not None:
                    module.forward = noting._own

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The module's own forward, and a note before and after it, also if it fails."""
        for listener, name in self.listeners.items():
            listener.note(name)
        try:
            return self._forward(*args, **kwargs)
        finally:
            for listener in self.listeners:
                listener.note(OUTSIDE)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """A copy of the module is its own: nobody listens to it."""
        copied = memo[id(self._module)]
        if self._own is None:
            return partial(type(copied).forward, copied)
        return copy.deepcopy(self._own, memo)
