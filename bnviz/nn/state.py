"""Take and give back the whole state of a model, statistics in plain attributes included.

`torch.nn.Module.state_dict` misses the note's running statistics, which are attributes and not
buffers; a snapshot has them under the names they would have as buffers.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

STATISTICS = ("running_mean", "running_var")


def statistics(layer: nn.Module) -> tuple[Tensor, Tensor] | None:
    """The running mean and variance of a norm layer, detached, of shape (C,); None without."""
    mean, var = (getattr(layer, name, None) for name in STATISTICS)
    if mean is None or var is None:
        return None
    return mean.detach().reshape(-1), var.detach().reshape(-1)


def affine(layer: nn.Module) -> tuple[Tensor, Tensor] | None:
    """Weight and bias (the paper's gamma and beta) of a norm layer, detached, of shape (C,).

    None where the layer has none.
    """
    for names in (("weight", "bias"), ("gamma", "beta")):
        weight, bias = (getattr(layer, name, None) for name in names)
        if weight is not None and bias is not None:
            return weight.detach().reshape(-1), bias.detach().reshape(-1)
    return None


def set_statistics(layer: nn.Module, mean: Tensor, var: Tensor) -> None:
    """Overwrite the running statistics of a norm layer with values of shape (C,)."""
    for name, value in zip(STATISTICS, (mean, var), strict=True):
        old = getattr(layer, name)
        new = value.detach().to(old.dtype).reshape(old.shape).to(old.device).clone()
        setattr(layer, name, new)


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    """Parameters, buffers and attribute statistics of `model`, detached copies by name."""
    state = {name: value.detach().clone() for name, value in model.state_dict().items()}
    for path, layer in model.named_modules():
        for name in STATISTICS:
            value = getattr(layer, name, None)
            if isinstance(value, Tensor):
                state[f"{path}.{name}"] = value.detach().clone()
    return state


def restore(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Put a snapshot into `model`, in place.

    Raises KeyError for a tensor that is missing in `state`.
    """
    with torch.no_grad():
        for name, value in model.state_dict().items():
            value.copy_(state[name])
    for path, layer in model.named_modules():
        for name in STATISTICS:
            value = getattr(layer, name, None)
            if isinstance(value, Tensor) and name not in layer._buffers:
                setattr(layer, name, state[f"{path}.{name}"].to(value.device).clone())


@contextmanager
def restored(model: nn.Module) -> Iterator[None]:
    """While it lasts the model may be run and changed; afterwards it is as it was, also on failure.

    Put back are all plain attributes of all modules (training flags, eps, the note's statistics
    with their graph) and all buffers: the same tensors with the same values. Parameters are not:
    whoever uses this does not train.
    """
    before = [
        (
            module,
            dict(vars(module)),
            dict(module._buffers),
            [None if b is None else b.detach().clone() for b in module._buffers.values()],
        )
        for module in model.modules()
    ]
    try:
        yield
    finally:
        for module, attributes, buffers, values in before:
            _put_back(module, attributes, buffers, values)


@torch.no_grad()
def _put_back(
    module: nn.Module,
    attributes: dict[str, Any],
    buffers: dict[str, Tensor | None],
    values: list[Tensor | None],
) -> None:
    """Give a module the attributes and buffers that it had, and the buffers their values."""
    for name in vars(module).keys() - attributes.keys():
        del vars(module)[name]
    vars(module).update(attributes)
    module._buffers.update(buffers)
    for buffer, value in zip(buffers.values(), values, strict=True):
        if buffer is not None and value is not None and not torch.equal(buffer, value):
            buffer.copy_(value)
