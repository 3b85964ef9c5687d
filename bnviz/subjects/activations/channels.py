"""A layer from inside: what chosen images make of each channel before BN, after it, and beyond."""

import numpy as np
import pandas as pd

from bnviz.evaluation.layer_stages import Stages
from bnviz.nn import LeNet
from bnviz.nn.state import affine
from bnviz.subjects.activations.distribution_shift import saturated_share


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
