"""Batch Normalization written out: one torch operation for each line of the paper.

Ioffe & Szegedy 2015, Algorithm 1 (https://arxiv.org/abs/1502.03167). Autograd derives the
backward pass, and keeps what each operation needs for it; `bnviz.nn.fused` does with less.
"""

import torch
from torch import Tensor

from bnviz.nn.base import BatchNormBase, statistics_dtype, values_per_channel


class _WrittenOut(BatchNormBase):
    def forward(self, x: Tensor) -> Tensor:
        """Normalize x (N, C, ...) channel by channel; same shape and dtype.

        Raises what `torch.nn.BatchNorm2d` raises; see `BatchNormBase._start`.
        """
        use_batch = self._start(x)
        dims = [dim for dim in range(x.dim()) if dim != 1]  # all but the channels
        shape = [1, -1] + [1] * (x.dim() - 2)  # (1, C, 1, 1) goes with (N, C, H, W)
        wide = x.to(statistics_dtype(x))

        if use_batch:
            mean = wide.mean(dims, keepdim=True)
            var = (wide - mean).square().mean(dims, keepdim=True)
            self._finish(mean.detach().flatten(), var.detach().flatten(), values_per_channel(x))
        else:
            assert self.running_mean is not None and self.running_var is not None
            mean = self.running_mean.to(wide.dtype).view(shape)
            var = self.running_var.to(wide.dtype).view(shape)

        y = (wide - mean) / torch.sqrt(var + self.eps)
        if self.weight is not None:
            y = y * self.weight.view(shape)
        if self.bias is not None:
            y = y + self.bias.view(shape)
        return y.to(x.dtype)


class BatchNorm1d(_WrittenOut):
    """Over (N, C) or (N, C, L), as `torch.nn.BatchNorm1d`."""

    _allowed_dims = (2, 3)


class BatchNorm2d(_WrittenOut):
    """Over (N, C, H, W), as `torch.nn.BatchNorm2d`."""

    _allowed_dims = (4,)
