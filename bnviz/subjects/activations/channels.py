"""A layer from inside: what chosen images make of each channel before BN, after it, and beyond."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from bnviz.analysis.drift import saturated_share
from bnviz.analysis.passes import to_input
from bnviz.errors import ConfigError
from bnviz.i18n import _
from bnviz.nn import LeNet
from bnviz.nn.state import affine, put_back
from bnviz.nn.state import statistics as get_statistics

Stages = dict[str, np.ndarray]
"""Values (N, C) or (N, C, H, W) of the stages that a layer has, in order."""


@torch.no_grad()
def layer_stages(model: LeNet, images: Tensor, layer: str, *, mode: str) -> Stages:
    """What uint8 `images` (N, 28, 28) are at each stage of one norm layer.

    ``input`` is what enters it, ``normalized`` that with the mean taken off and divided by the
    standard deviation, ``scaled`` what leaves it, ``activation`` what the next layer sees; the
    names are those of `bnviz.train.schema.STAGES`. A network without BN has the first and the last.
    In ``train`` mode all images are one batch and normalize each other, in ``eval`` mode the
    running statistics do. The model is put back as it was, also on failure.

    Raises ConfigError for an unknown layer or mode and for a single image in train mode.
    """
    layers = model.norm_layers()
    for name, value, allowed in (("layer", layer, list(layers)), ("mode", mode, ["train", "eval"])):
        if value not in allowed:
            raise ConfigError(
                _("{name}: got {value!r}; allowed: {allowed}.").format(
                    name=name, value=value, allowed=", ".join(allowed)
                )
            )
    if mode == "train" and len(images) < 2:
        raise ConfigError(
            _("images: got {value} in train mode; allowed: 2 or more, which normalize each other.")
            .format(value=len(images))
        )  # fmt: skip
    norm = layers[layer]
    chain: list[Any] = [*model.conv, *model.fc]
    activation = chain[next(k for k, module in enumerate(chain) if module is norm) + 1]
    caught: dict[Any, tuple[Tensor, Tensor]] = {}

    def catch(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        caught[module] = (inputs[0], output)

    with put_back(model):
        model.train(mode == "train")
        own = get_statistics(norm)
        before = None if own is None else tuple(value.clone() for value in own)
        handles = [module.register_forward_hook(catch) for module in (norm, activation)]
        try:
            model(to_input(images, next(model.parameters()).dtype))
        finally:
            for handle in handles:
                handle.remove()
    x, y = caught[norm]
    stages = {"input": x}
    if before is not None:
        stages |= {"normalized": _normalized(x, norm, mode, before), "scaled": y}
    stages["activation"] = caught[activation][1]
    return {name: values.cpu().float().numpy() for name, values in stages.items()}


def _normalized(x: Tensor, norm: Any, mode: str, running: tuple[Tensor, ...]) -> Tensor:
    mean, var = running
    if mode == "train":
        var, mean = torch.var_mean(x, [d for d in range(x.dim()) if d != 1], correction=0)
    shape = [1, -1] + [1] * (x.dim() - 2)
    return (x - mean.reshape(shape)) / torch.sqrt(var.reshape(shape) + norm.eps)


def affine_of(model: LeNet, layer: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Weight and bias (C,) of a norm layer; None without BN. Raises KeyError for another layer."""
    found = affine(model.norm_layers()[layer])
    if found is None:
        return None
    weight, bias = (values.cpu().float().numpy() for values in found)
    return weight, bias


def by_channel(values: np.ndarray) -> np.ndarray:
    """Values (N, C, ...) as (C, N * positions)."""
    return np.moveaxis(values, 1, 0).reshape(values.shape[1], -1)


def channel_table(
    stages: Stages, affine: tuple[np.ndarray, np.ndarray] | None, activation: str
) -> pd.DataFrame:
    """One row a channel from what `layer_stages` gives.

    Columns: channel; mean and std of the input, in its unit; weight and bias (NaN without BN);
    out_mean and out_std of what leaves BN (of the input without); saturated, the share of
    saturated values after the activation (see `saturated_share`); dead, whether all of them are.
    """
    before = by_channel(stages["input"])
    after = by_channel(stages.get("scaled", stages["input"]))
    saturated = saturated_share(by_channel(stages["activation"]), activation)
    none = np.full(len(before), np.nan)
    weight, bias = (none, none) if affine is None else affine
    return pd.DataFrame(
        {
            "channel": np.arange(len(before)),
            "mean": before.mean(1),
            "std": before.std(1),
            "weight": weight,
            "bias": bias,
            "out_mean": after.mean(1),
            "out_std": after.std(1),
            "saturated": saturated,
            "dead": saturated == 1,
        }
    )


def channel_quantiles(values: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Quantiles of each channel of `values` (N, C, ...) at `levels` (0 to 1): (C, levels)."""
    return np.quantile(by_channel(values), levels, axis=1).T.astype(np.float32)


def difference(train: np.ndarray, evaluation: np.ndarray) -> np.ndarray:
    """How far two sets of maps (C, ...) are apart, by channel (C,).

    Root mean square of the difference over a channel's positions, in standard deviations of all
    values of the second set; 0 where those never vary.
    """
    apart = (train - evaluation).reshape(len(train), -1)
    spread = float(evaluation.std())
    return np.sqrt((apart**2).mean(1)) / spread if spread > 0 else np.zeros(len(train))
