"""What the values of a batch are at each stage of a BN layer, as quantiles of a fixed sample."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from bnviz.records.schema import QUANTILES, RECORDED_STAGES, SAMPLED_VALUES, stages_table
from bnviz.training.observer import Observer

if TYPE_CHECKING:
    from bnviz.training.trainer import Trainer, VariantRun


def sampled_places(total: int) -> Tensor:
    """The SAMPLED_VALUES places (int64, ascending) at which a tensor of `total` values is sampled.

    Always the same ones. Of a tensor that is smaller all values are taken, evenly: some once more
    than others.
    """
    if total <= SAMPLED_VALUES:
        return torch.arange(SAMPLED_VALUES) * total // SAMPLED_VALUES
    generator = torch.Generator().manual_seed(0)
    # In order: memory is read much faster forwards than here and there.
    return torch.randint(total, (SAMPLED_VALUES,), generator=generator).sort()[0]


class StageSampler(Observer):
    """Quantiles of what enters a BN layer, of x̂, and of what leaves it, at fixed sampled places.

    The normalized values come from the sampled inputs and the layer's own batch statistics; the
    scaled ones are sampled from the layer's real output. What the activation makes of them
    follows exactly, since it is monotone, and is not stored.
    """

    when = "stages"

    def __init__(self, trainer: "Trainer", run: "VariantRun"):
        super().__init__(trainer, run)
        self._norms, self._table = run.norms, trainer.history[stages_table(run.variant)]
        self._places: dict[str, Tensor] = {}
        self._channels = self._values = torch.empty(0)

    def before_update(self, step: int) -> None:
        """Let the norm layers keep their tensors."""
        self._norms.tensors = True

    @torch.no_grad()
    def after_update(self, step: int, loss: Tensor) -> None:
        """Write the quantiles of the tensors that were captured."""
        if not self._places:
            self._prepare()
        inputs, normalized, scaled = self._values
        statistics = self._norms.mean_and_rstd()
        for k, (name, places) in enumerate(self._places.items()):
            x, y = self._norms.inputs[name], self._norms.outputs[name]
            torch.index_select(x.reshape(-1), 0, places, out=inputs[k])
            if statistics is not None:
                torch.index_select(y.reshape(-1), 0, places, out=scaled[k])
        if statistics is not None:
            mean, rstd = (s.index_select(0, self._channels).view_as(inputs) for s in statistics)
            torch.sub(inputs, mean, out=normalized).mul_(rstd)
        self.failed()
        self._table.append(step=step, quantiles=quantiles(self._values).swapaxes(0, 1))

    def failed(self) -> None:
        """Let go of the tensors."""
        self._norms.tensors = False
        self._norms.forget()

    def _prepare(self) -> None:
        """Choose the places in tensors like those that were captured, and the channel of each."""
        channels, before = [], 0
        for name, x in self._norms.inputs.items():
            places = sampled_places(x.numel())
            channels.append(before + places // x[0, 0].numel() % x.shape[1])
            before += x.shape[1]
            self._places[name] = places.to(x.device)
        self._channels = torch.cat(channels).to(x.device)
        shape = (len(RECORDED_STAGES), len(self._places), SAMPLED_VALUES)
        self._values = x.new_full(shape, torch.nan)


_RANKS = ((np.arange(QUANTILES) + 0.5) / QUANTILES * SAMPLED_VALUES).astype(int)


def quantiles(values: Tensor) -> np.ndarray:
    """Of SAMPLED_VALUES along the last axis, those at the levels (i + 1/2) / QUANTILES."""
    return np.sort(values.cpu().float().numpy(), axis=-1)[..., _RANKS]
