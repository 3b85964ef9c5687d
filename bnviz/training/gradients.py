"""What flows back through a run: gradients at the BN layers, of the weights, and their updates.

An observer that a run must ask for (`RunConfig.gradients`), because it looks inside the step.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from bnviz.config import RunConfig
from bnviz.instrument.capture import ForwardHook, add_hook, remove_hook
from bnviz.records.schema import SAMPLED_VALUES, SIDES, gradients_table
from bnviz.training.observer import Observer
from bnviz.training.stages import quantiles, sampled_places

if TYPE_CHECKING:
    from bnviz.training.trainer import Trainer, VariantRun


class GradientSampler(Observer, ForwardHook):
    """Quantiles of the gradients at both sides of each BN layer; norms of gradients and updates.

    The gradients are those of the mean loss of the batch, read by tensor hooks that change nothing;
    hooks and copies are gone after the step, also when it fails. With `nn.Identity` in the norm's
    place both sides are the same tensor.
    """

    when = "stages"

    def __init__(self, trainer: "Trainer", run: "VariantRun"):
        super().__init__(trainer, run)
        self._layers = run.model.norm_layers()
        self._table = trainer.history[gradients_table(run.variant)]
        self._weights: list[Tensor] = [m.weight for m in run.model.weight_layers().values()]
        self._sizes = [weight.numel() for weight in self._weights]
        self._before = torch.empty(0)
        self._caught: dict[tuple[str, str], Tensor] = {}
        self._handles: list[RemovableHandle] = []
        self._places: dict[str, Tensor] = {}

    @classmethod
    def wanted(cls, config: RunConfig) -> bool:
        """Only where the run asks for them."""
        return config.gradients

    def before_update(self, step: int) -> None:
        """Catch the gradients of the update."""
        self._caught.clear()
        self._before = _flat(self._weights)
        for name, layer in self._layers.items():
            add_hook(layer, self, name)

    def after(self, layer: str, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Ask autograd for the gradients of a BN layer's output and input."""
        began = time.perf_counter()
        for side, tensor in zip(SIDES, (output, inputs[0]), strict=True):
            self._handles.append(tensor.register_hook(self._catching(layer, side)))
        self.spend(time.perf_counter() - began)

    def _catching(self, name: str, side: str) -> Callable[[Tensor], None]:
        def catch(gradient: Tensor) -> None:
            began = time.perf_counter()
            self._caught[name, side] = gradient
            self.spend(time.perf_counter() - began)

        return catch

    @torch.no_grad()
    def after_update(self, step: int, loss: Tensor) -> None:
        """Write what the update has left."""
        gradients = _flat([_gradient(weight) for weight in self._weights])
        updates = _flat(self._weights).sub_(self._before)
        norms = torch.stack(
            [
                torch.linalg.vector_norm(part)
                for values in (gradients, updates, self._before)
                for part in values.split(self._sizes)
            ]
        )
        of_gradient, of_update, of_weight = norms.view(3, -1)
        grad_norm, update_ratio = torch.stack([of_gradient, of_update / of_weight]).cpu().numpy()
        self._table.append(
            step=step,
            quantiles=quantiles(self._sampled()),
            grad_norm=grad_norm,
            update_ratio=update_ratio,
        )
        self.failed()

    def failed(self) -> None:
        """Take the hooks off and let go of what was caught."""
        for layer in self._layers.values():
            remove_hook(layer, self)
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._caught.clear()
        self._before = torch.empty(0)

    def _sampled(self) -> Tensor:
        """The sampled values, of shape (layers, sides, SAMPLED_VALUES)."""
        layers, first = self._layers, next(iter(self._caught.values()))
        values = first.new_empty(len(layers), len(SIDES), SAMPLED_VALUES)
        for k, name in enumerate(layers):
            for j, side in enumerate(SIDES):
                gradient = self._caught[name, side]
                if name not in self._places:
                    self._places[name] = sampled_places(gradient.numel()).to(gradient.device)
                torch.index_select(gradient.reshape(-1), 0, self._places[name], out=values[k, j])
        return values


@torch.no_grad()
def _flat(tensors: list[Tensor]) -> Tensor:
    """All values of `tensors` after one another, a copy of shape (values,)."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def _gradient(weight: Tensor) -> Tensor:
    assert weight.grad is not None  # a step has just been made
    return weight.grad
