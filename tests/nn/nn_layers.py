"""What the tests of `bnviz.nn` share: the hand-written layers, torch's own, plain measurements."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bnviz.nn import BatchNorm1d, BatchNorm2d, FusedBatchNorm1d, FusedBatchNorm2d

SHAPES = [(8, 3), (2, 3), (5, 3, 7), (1, 3, 2), (4, 3, 5, 6), (1, 3, 2, 2)]
OPTIONS = [
    {},
    {"eps": 1e-2},
    {"affine": False},
    {"bias": False},
    {"track_running_stats": False},
    {"affine": False, "track_running_stats": False},
    {"momentum": None},
    {"momentum": 0.0},
    {"momentum": 0.9},
    {"momentum": 1.0},
]
KINDS = {"composite": (BatchNorm1d, BatchNorm2d), "fused": (FusedBatchNorm1d, FusedBatchNorm2d)}

each_kind = pytest.mark.parametrize("kind", list(KINDS))
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "x".join(map(str, s)))
each_option = pytest.mark.parametrize(
    "options", OPTIONS, ids=lambda o: ",".join(f"{k}={v}" for k, v in o.items()) or "defaults"
)
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def make(kind: str, shape: tuple[int, ...], **options) -> nn.Module:
    """A layer of `kind` for inputs of `shape`."""
    flat, spatial = KINDS[kind]
    return (spatial if len(shape) == 4 else flat)(shape[1], **options)


def reference(shape: tuple[int, ...], **options) -> nn.Module:
    """Torch's own layer for inputs of `shape`."""
    return (nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d)(shape[1], **options)


def pair(kind: str, shape: tuple[int, ...], **options) -> tuple[nn.Module, nn.Module]:
    """Ours and torch's, with the same random gamma and beta."""
    ours, torchs = make(kind, shape, **options), reference(shape, **options)
    with torch.no_grad():
        for parameter in torchs.parameters():
            parameter.copy_(torch.randn(parameter.shape).add_(1))
    ours.load_state_dict(torchs.state_dict(), strict=True)
    return ours, torchs


def random_input(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> Tensor:
    """Off centre and scaled, so that forgetting either shows."""
    return (3 * torch.randn(shape, dtype=torch.float64) + 2).to(dtype)


def forward_backward(layer: nn.Module, x: Tensor, upstream: Tensor) -> dict[str, Tensor]:
    """Output and all gradients of one pass."""
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    layer.zero_grad()
    y = layer(x)
    y.backward(upstream)
    gradients = {name: p.grad.flatten() for name, p in layer.named_parameters()}
    return {"y": y.detach(), "x": x.grad, **gradients}


def saved_for_backward(run: Callable[[], object]) -> list[Tensor]:
    """The tensors that autograd keeps after `run`; its result must live until they are counted."""
    kept: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor.detach())
        return kept[-1]

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    return kept


def saved_bytes(run: Callable[[], object]) -> int:
    """Bytes of the distinct storages that autograd keeps after `run`."""
    storages = [tensor.untyped_storage() for tensor in saved_for_backward(run)]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())
