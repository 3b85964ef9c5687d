"""The statistics by which the norm layers of a model normalized their last batch."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm as TorchBatchNorm

from bnviz.instrument.capture import Captured, add_hook, remove_hook
from bnviz.nn.state import STATISTICS


class NormCapture(Captured):
    """Captures the norm layers of a model: statistics always, tensors while `tensors` is set.

    Our layers hand over the batch statistics that they computed; `nn.BatchNorm` leaves its own in
    ``grad_fn._saved_result1`` (mean) and ``_saved_result2`` (1/std), so nothing is computed again.
    `close` gives the layers back.
    """

    def __init__(self, layers: Mapping[str, nn.Module]):
        super().__init__()
        self.layers: dict[str, Any] = dict(layers)
        self.tensors = False
        """Whether inputs and outputs are kept, without a graph."""
        self._builtin = all(isinstance(layer, TorchBatchNorm) for layer in self.layers.values())
        self._saved: dict[str, tuple[Tensor, Tensor]] = {}
        # Where running statistics are buffers they are read from there: `Module.__getattr__` costs
        # as much as copying them. The note's are attributes, and of another shape.
        registered = [layer._buffers for layer in self.layers.values()]
        flat = all(
            name in of_layer and of_layer[name].dim() == 1
            for of_layer in registered
            for name in STATISTICS
        )
        self._buffers: list[dict[str, Any]] | None = registered if flat else None
        for name, layer in self.layers.items():
            add_hook(layer, self, name)

    def after(self, layer: str, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Keep what the call left."""
        x = inputs[0]
        node: Any = output.grad_fn if self._builtin else None
        if node is not None:
            try:
                self._saved[layer] = (node._saved_result1, node._saved_result2)
            except AttributeError:  # a backend whose node does not say: compute them
                dims = [d for d in range(x.dim()) if d != 1]
                var, mean = torch.var_mean(x.detach(), dims, correction=0)
                self._saved[layer] = (mean, (var + self.layers[layer].eps).rsqrt())
        if self.tensors:
            self.inputs[layer], self.outputs[layer] = x.detach(), output.detach()

    def forget(self) -> None:
        """Let go of inputs and outputs."""
        self.inputs.clear()
        self.outputs.clear()

    def mean_and_rstd(self) -> tuple[Tensor, Tensor] | None:
        """Mean and 1/std of the last train-mode batch, all layers' channels; None without BN."""
        vectors = self.raw_statistics()
        if vectors is None:
            return None
        count = len(self.layers)
        mean, spread = torch.cat(vectors[:count]), torch.cat(vectors[count : 2 * count])
        if self._builtin:
            return mean, spread
        return mean, spread.add_(next(iter(self.layers.values())).eps).rsqrt_()

    def raw_statistics(self) -> list[Tensor] | None:
        """Means of all layers, their variances, running means, running variances; None without BN.

        Each of shape (C,) and without any arithmetic: `nn.BatchNorm` has 1/std instead of the
        variance, and `finish_variances` puts that right for many steps at once.
        """
        layers = self.layers.values()
        if self._builtin:
            saved = self._saved
            batch = [saved[name][k] for k in (0, 1) for name in self.layers]
        elif hasattr(next(iter(layers)), "batch_mean"):
            batch = [getattr(x, n) for n in ("batch_mean", "batch_var") for x in layers]
        else:
            return None
        if self._buffers is not None:
            return batch + [of_layer[n] for n in STATISTICS for of_layer in self._buffers]
        attributes = [getattr(layer, name) for name in STATISTICS for layer in layers]
        return [vector.reshape(-1) for vector in batch + attributes]

    def finish_variances(self, rows: Tensor) -> None:
        """Make biased variances of what `raw_statistics` gave, in place; rows are (steps, C)."""
        if self._builtin:
            eps = next(iter(self.layers.values())).eps
            rows.pow_(-2).sub_(eps).clamp_(min=0)

    def close(self) -> None:
        """Give the layers their own forward back."""
        for layer in self.layers.values():
            remove_hook(layer, self)
        self.forget()
