"""The learner's layer, oddities included: the exhibit.

Each oddity is a switch; all of them on is what the note wrote, all of them off (with momentum
0.1) agrees with `torch.nn.BatchNorm1d` and `torch.nn.BatchNorm2d`.
"""

from typing import Any

import torch
from torch import Tensor, nn


class NoteBatchNorm(nn.Module):
    """Batch Normalization of (N, C) for `num_dims` 2 or (N, C, H, W) for 4, as the note has it.

    Parameters `gamma` and `beta` and the running statistics have the shape (1, C) or (1, C, 1, 1).
    The statistics have the dtype of the input, also in half precision.

    Switches, with the note's value first:
        momentum: 0.9, the weight of the NEW batch (torch: 0.1).
        keep_graph: True leaves the running statistics attached to the graph of every batch they
            were averaged over; False detaches them.
        zero_running_var: True starts the running variance at 0, so that evaluating before training
            divides by sqrt(eps); False at 1 as in torch.
        conv_shift_one: True starts beta at 1 in a convolutional layer and at 0 in a fully connected
            one; False at 0 as in torch.
        plain_attributes: True keeps the running statistics as plain attributes, which `state_dict`
            and `.to()` do not see; False registers them.
        biased_running_var: True averages the biased variance; False the unbiased one.
        chained_mean: True takes means one dimension after the other, with a graph node for each;
            False at once.
        in_place: False makes new running statistics at each batch; True writes into those that
            are there, without a graph, as torch does.

    The note does not check for a single value per channel: its variance is 0 and the output is
    beta. A deepcopy fails in torch (RuntimeError) while statistics keep their graph.
    After a forward pass in train mode `batch_mean` and `batch_var` (biased) hold the statistics
    of the batch, shape (C,), without a graph.

    Raises ValueError for `num_dims` other than 2 or 4 and for a momentum of None.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self,
        num_features: int,
        num_dims: int,
        *,
        eps: float = 1e-5,
        momentum: float = 0.9,
        keep_graph: bool = True,
        zero_running_var: bool = True,
        conv_shift_one: bool = True,
        plain_attributes: bool = True,
        biased_running_var: bool = True,
        chained_mean: bool = True,
        in_place: bool = False,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if num_dims not in (2, 4):
            raise ValueError(f"num_dims: got {num_dims}; allowed: 2 for (N, C), 4 for (N, C, H, W)")
        if momentum is None:
            raise ValueError(
                "momentum: got None, which the note's layer does not know; give 0 to 1"
            )
        self.num_features = num_features
        self.num_dims = num_dims
        self.eps = eps
        self.momentum = momentum
        self.keep_graph = keep_graph
        self.biased_running_var = biased_running_var
        self.chained_mean = chained_mean
        self.in_place = in_place
        self.batch_mean: Tensor | None = None
        self.batch_var: Tensor | None = None

        shift = 1.0 if conv_shift_one and num_dims == 4 else 0.0
        shape = (1, num_features) if num_dims == 2 else (1, num_features, 1, 1)

        def filled(value: float) -> Tensor:
            return torch.full(shape, float(value), device=device, dtype=dtype)

        self.gamma = nn.Parameter(filled(1))
        self.beta = nn.Parameter(filled(shift))
        var = 0.0 if zero_running_var else 1.0
        for name, value in (("running_mean", 0.0), ("running_var", var)):
            if plain_attributes:
                setattr(self, name, filled(value))
            else:
                self.register_buffer(name, filled(value))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x; same shape. Raises ValueError for another number of dims or channels."""
        self._check(x)
        if self.running_mean.device != x.device:  # plain attributes do not follow `.to(device)`
            self.running_mean = self.running_mean.to(x.device)
            self.running_var = self.running_var.to(x.device)
        if self.training:
            mean = self._mean(x)
            var = self._mean((x - mean) ** 2)
            self._average_in(mean, var, x.numel() // self.num_features)
        else:
            mean, var = self.running_mean, self.running_var
        x_hat = (x - mean) / torch.sqrt(var + self.eps)
        return self.gamma * x_hat + self.beta

    def _mean(self, x: Tensor) -> Tensor:
        """Mean of each channel, shape (1, C) or (1, C, 1, 1)."""
        dims = [0] if self.num_dims == 2 else [0, 2, 3]
        if not self.chained_mean:
            return x.mean(dims, keepdim=True)
        for dim in dims:
            x = x.mean(dim, keepdim=True)
        return x

    def _average_in(self, mean: Tensor, var: Tensor, count: int) -> None:
        self.batch_mean, self.batch_var = mean.detach().flatten(), var.detach().flatten()
        if not self.keep_graph:
            mean, var = mean.detach(), var.detach()
        if not self.biased_running_var:
            var = var * (count / max(count - 1, 1))
        if self.in_place:
            self.running_mean.lerp_(mean.detach(), self.momentum)
            self.running_var.lerp_(var.detach(), self.momentum)
            return
        self.running_mean = self.momentum * mean + (1 - self.momentum) * self.running_mean
        self.running_var = self.momentum * var + (1 - self.momentum) * self.running_var

    def _check(self, x: Tensor) -> None:
        if x.dim() != self.num_dims:
            raise ValueError(f"expected {self.num_dims}D input (got {x.dim()}D input)")
        if x.shape[1] != self.num_features:
            raise ValueError(f"expected {self.num_features} channels (got {x.shape[1]})")

    def extra_repr(self) -> str:
        """The settings that a reader compares."""
        return (
            f"{self.num_features}, num_dims={self.num_dims}, eps={self.eps}, "
            f"momentum={self.momentum}, keep_graph={self.keep_graph}, "
            f"biased_running_var={self.biased_running_var}, chained_mean={self.chained_mean}"
        )
