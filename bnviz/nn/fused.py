"""Batch Normalization with its gradient in closed form, written for memory and speed.

The same layer as in `bnviz.nn.batchnorm`, but one single node for autograd, which keeps x, the
mean, 1/std and gamma and nothing else. With x̂ = (x - mean) / std, n values per channel and g the
gradient of y, the equations of Ioffe & Szegedy 2015, section 3, come to ::

    dbeta  = sum of g
    dgamma = sum of g x̂
    dx     = gamma / std * (g - dbeta / n - x̂ dgamma / n)

The operations in place and the sums that take the contiguous last axis first are not a matter of
taste: on a CPU they make it about as fast as torch's own layer (``benchmarks/fused_step.py``).
"""

from typing import Any

import torch
from torch import Tensor

from bnviz.nn.base import BatchNormBase, statistics_dtype, values_per_channel


class _Normalize(torch.autograd.Function):
    """x (N, C, ...), gamma and beta (C,) or None, eps -> y like x, mean (C,), biased var (C,)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gamma: Tensor | None, beta: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        n = max(values_per_channel(x), 1)
        wide = x.to(statistics_dtype(x))
        mean = _channel_sum(wide).div_(n)
        centred = wide - _beside(mean, x)
        var = _channel_sum(centred.square()).div_(n)  # of centred values: no cancellation
        rstd = (var + eps).rsqrt_()
        y = centred.mul_(_beside(rstd if gamma is None else rstd * gamma, x))
        if beta is not None:
            y.add_(_beside(beta, x))
        ctx.save_for_backward(x, mean, rstd, gamma)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, var)
        ctx.set_materialize_grads(False)
        return y.to(x.dtype), mean, var

    @staticmethod
    def backward(ctx: Any, g: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
        if g is None:
            return None, None, None, None
        x, mean, rstd, gamma = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph=True: the gradient will be differentiated
            dx, dgamma, dbeta = _differentiable_gradients(g, x, gamma, ctx.eps)
        else:
            dx, dgamma, dbeta = _gradients(g, x, mean, rstd, gamma)
        need_x, need_gamma, need_beta, _eps = ctx.needs_input_grad
        return (
            dx if need_x else None,
            dgamma if need_gamma else None,
            dbeta if need_beta else None,
            None,
        )


def _gradients(
    g: Tensor, x: Tensor, mean: Tensor, rstd: Tensor, gamma: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, gamma and beta; allocates two tensors of the size of x."""
    n = max(values_per_channel(x), 1)
    g = g.to(rstd.dtype)
    centred = x - _beside(mean, x)
    dbeta = _channel_sum(g)
    dgamma = _channel_sum(g * centred).mul_(rstd)
    dx = centred.mul_(_beside(dgamma * rstd / -n, x)).add_(g).sub_(_beside(dbeta / n, x))
    dx.mul_(_beside(rstd if gamma is None else rstd * gamma, x))
    return dx.to(x.dtype), dgamma, dbeta


def _differentiable_gradients(
    g: Tensor, x: Tensor, gamma: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The same, from x alone and nothing in place, so that autograd can follow."""
    n = max(values_per_channel(x), 1)
    g, wide = g.to(statistics_dtype(x)), x.to(statistics_dtype(x))
    centred = wide - _beside(_channel_sum(wide) / n, x)
    rstd = (_channel_sum(centred.square()) / n + eps).rsqrt()
    x_hat = centred * _beside(rstd, x)
    dbeta = _channel_sum(g)
    dgamma = _channel_sum(g * x_hat)
    dx = g - _beside(dbeta / n, x) - x_hat * _beside(dgamma / n, x)
    dx = dx * _beside(rstd if gamma is None else rstd * gamma, x)
    return dx.to(x.dtype), dgamma, dbeta


def _channel_sum(t: Tensor) -> Tensor:
    """(N, C, ...) -> (C,)."""
    return t.sum(0) if t.dim() == 2 else t.flatten(2).sum(2).sum(0)


def _beside(vector: Tensor, x: Tensor) -> Tensor:
    """`vector` (C,) in the shape that broadcasts with x (N, C, ...): (C, 1, 1) for (N, C, H, W)."""
    return vector if x.dim() == 2 else vector.view([-1] + [1] * (x.dim() - 2))


class _Fused(BatchNormBase):
    def forward(self, x: Tensor) -> Tensor:
        """Normalize x (N, C, ...) channel by channel; same shape and dtype.

        Can be differentiated twice. Raises what `torch.nn.BatchNorm2d` raises; see
        `BatchNormBase._start`.
        """
        if self._start(x):
            y, mean, var = _Normalize.apply(x, self.weight, self.bias, self.eps)
            self._finish(mean, var, values_per_channel(x))
            return y
        return self._with_running_statistics(x)

    def _with_running_statistics(self, x: Tensor) -> Tensor:
        """A scale and a shift for each channel; autograd keeps x and the scale."""
        assert self.running_mean is not None and self.running_var is not None
        wide = statistics_dtype(x)
        scale = (self.running_var.to(wide) + self.eps).rsqrt()
        if self.weight is not None:
            scale = scale * self.weight
        shift = -self.running_mean.to(wide) * scale
        if self.bias is not None:
            shift = shift + self.bias
        return (x * _beside(scale, x) + _beside(shift, x)).to(x.dtype)


class FusedBatchNorm1d(_Fused):
    """Over (N, C) or (N, C, L), as `torch.nn.BatchNorm1d`."""

    _allowed_dims = (2, 3)


class FusedBatchNorm2d(_Fused):
    """Over (N, C, H, W), as `torch.nn.BatchNorm2d`."""

    _allowed_dims = (4,)
