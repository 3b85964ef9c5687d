"""What the hand-written layers share: parameters, running statistics, checks. No normalizing.

Names, defaults, checkpoints and refusals are those of `torch.nn.BatchNorm2d`
(https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html), so that a layer here
can take its place. The class is no relative of torch's own, so code that looks for those
(`convert_sync_batchnorm`, quantization) leaves it alone.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

HALF = (torch.float16, torch.bfloat16)


class BatchNormBase(nn.Module):
    """Holds gamma (`weight`), beta (`bias`) and running statistics, each of shape (C,) or None.

    `momentum` is the weight of the new batch; None gives every batch the same weight. After a
    forward pass in train mode, `batch_mean` and `batch_var` (biased) are the statistics that the
    batch was normalized by, shape (C,), without a graph; they are in no state_dict.
    """

    _version = 2  # of the state_dict: since 2 it has num_batches_tracked
    _allowed_dims: ClassVar[tuple[int, ...]] = ()

    weight: nn.Parameter | None
    bias: nn.Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self.batch_mean: Tensor | None = None
        self.batch_var: Tensor | None = None

        def vector() -> Tensor:
            return torch.empty(num_features, device=device, dtype=dtype)

        self.weight = nn.Parameter(vector()) if affine else None
        self.bias = nn.Parameter(vector()) if affine and bias else None
        tracked = track_running_stats
        count = torch.tensor(0, dtype=torch.long, device=device) if tracked else None
        self.register_buffer("running_mean", vector() if tracked else None)
        self.register_buffer("running_var", vector() if tracked else None)
        self.register_buffer("num_batches_tracked", count)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Forget all batches: mean 0, variance 1, count 0."""
        if not self.track_running_stats:
            return
        for name, start in (("running_mean", 0), ("running_var", 1), ("num_batches_tracked", 0)):
            getattr(self, name).fill_(start)

    def reset_parameters(self) -> None:
        """Forget all batches and start gamma at 1, beta at 0."""
        self.reset_running_stats()
        if self.weight is not None:
            nn.init.ones_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def extra_repr(self) -> str:
        """The settings, as torch's layer prints them."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, bias={self.bias is not None}, "
            f"track_running_stats={self.track_running_stats}"
        )

    def _start(self, x: Tensor) -> bool:
        """Check `x`, count the batch, say whether its own statistics normalize it.

        They do in train mode, and in eval mode where there are no running ones. As in torch, a
        batch is counted before its size is checked.

        Raises ValueError for a wrong number of dimensions, an eps that is negative (or 0 where
        the batch's statistics are used) and a single value per channel; RuntimeError for a wrong
        number of channels or parameters of another dtype; NotImplementedError for integers.
        """
        if x.dim() not in self._allowed_dims:
            allowed = " or ".join(f"{dim}D" for dim in self._allowed_dims)
            raise ValueError(f"expected {allowed} input (got {x.dim()}D input)")
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        own = self.training or (self.running_mean is None and self.running_var is None)
        if own and values_per_channel(x) == 1:
            raise ValueError(
                f"Expected more than 1 value per channel when training, got input size {x.size()}"
            )
        if own and self.eps <= 0:
            raise ValueError(f"batch_norm eps must be positive during training, but got {self.eps}")
        if self.eps < 0:
            raise ValueError(f"batch_norm eps must be non-negative, but got {self.eps}")
        self._check_vectors(x)
        return own

    def _check_vectors(self, x: Tensor) -> None:
        dtype, channels = x.dtype, x.shape[1]
        if not dtype.is_floating_point:
            raise NotImplementedError(f"batch_norm takes floating-point input, got {dtype}")
        vectors: dict[str, Tensor | None] = {"weight": self.weight, "bias": self.bias}
        if self.track_running_stats or not self.training:  # torch names these first
            running = {"running_mean": self.running_mean, "running_var": self.running_var}
            vectors = {**running, **vectors}
        for name, vector in vectors.items():
            if vector is None:
                continue
            if vector.numel() != channels:
                raise RuntimeError(
                    f"{name} should contain {channels} elements not {vector.numel()}"
                )
            if vector.dtype != dtype and (dtype not in HALF or vector.dtype != torch.float32):
                raise RuntimeError(
                    f"mixed dtype: input is {dtype}, {name} is {vector.dtype}; both must be the "
                    f"same (or {name} torch.float32 beside a half-precision input)"
                )

    def _finish(self, mean: Tensor, var: Tensor, count: int) -> None:
        """Hand over a batch's mean and biased variance and, where tracked, average them in.

        Both (C,), without a graph; `count` values per channel. The running variance takes the
        unbiased variance, count / (count - 1) times the biased one. An empty batch has no
        statistics and changes nothing.
        """
        if not self.training or count == 0:
            return
        self.batch_mean, self.batch_var = mean, var
        old_mean, old_var = self.running_mean, self.running_var
        if not self.track_running_stats or old_mean is None or old_var is None:
            return
        new_weight = self.momentum
        if new_weight is None:  # all batches weigh the same
            batches = self.num_batches_tracked
            new_weight = 0.0 if batches is None else 1 / float(batches)
        unbiased = var * (count / (count - 1))
        # old.lerp_(new, w) is old = (1 - w) old + w new
        old_mean.lerp_(mean.to(old_mean.dtype), new_weight)
        old_var.lerp_(unbiased.to(old_var.dtype), new_weight)

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: dict[str, Any],
        *args: Any,
    ) -> None:
        """Read a checkpoint; one of version 1 has no count of batches and keeps ours."""
        key = prefix + "num_batches_tracked"
        if (local_metadata.get("version") or 1) < 2 and self.num_batches_tracked is not None:
            on_meta = self.num_batches_tracked.is_meta
            state_dict.setdefault(key, torch.tensor(0) if on_meta else self.num_batches_tracked)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)


def values_per_channel(x: Tensor) -> int:
    """How many values each channel of (N, C, ...) has: N times the spatial size."""
    return x.numel() // max(x.shape[1], 1)


def statistics_dtype(x: Tensor) -> torch.dtype:
    """Statistics are kept in float32 at least: half precision runs out of digits in long sums."""
    return torch.float32 if x.dtype in HALF else x.dtype
