"""What charts read of the gradients that a history holds. No torch."""

import numpy as np
import pandas as pd

from bnviz.config import RunConfig
from bnviz.nn.layers import WEIGHT_LAYERS
from bnviz.records.history import History
from bnviz.records.reading import POINTS, last_up_to, sampled
from bnviz.records.schema import LAYERS, LEVELS, SIDES, gradients_table


def gradient_quantiles(
    history: History, variant: str, layer: str, step: int | None = None
) -> tuple[int, dict[str, np.ndarray]] | None:
    """Quantiles (at LEVELS) of the gradient at both SIDES of a BN layer, last probe up to `step`.

    Returns the probe's step and the quantiles by side, or None where nothing was recorded.
    """
    table = history[gradients_table(variant)]
    at = last_up_to(table, step)
    if at is None:
        return None
    row = table.column("quantiles", start=at, stop=at + 1)[0, list(LAYERS).index(layer)]
    return int(table.column("step")[at]), dict(zip(SIDES, row, strict=True))


def gradient_norms(history: History, variant: str, step: int | None = None) -> pd.DataFrame:
    """A row for each of WEIGHT_LAYERS at the last probe up to `step`; none without a record.

    Columns: step, layer, grad_norm (L2 norm of the weight's gradient), update_ratio (L2 norm of
    the step's change over that of the weight before).
    """
    table = history[gradients_table(variant)]
    at = last_up_to(table, step)
    if at is None:
        return pd.DataFrame({"step": [], "layer": [], "grad_norm": [], "update_ratio": []})
    row = {n: table.column(n, start=at, stop=at + 1)[0] for n in table.schema.columns}
    return pd.DataFrame(
        {
            "step": int(row["step"]),
            "layer": list(WEIGHT_LAYERS),
            "grad_norm": row["grad_norm"],
            "update_ratio": row["update_ratio"],
        }
    )


def gradient_curves(
    history: History, variant: str, layer: str, points: int = POINTS
) -> pd.DataFrame:
    """Step, grad_norm and update_ratio of one of WEIGHT_LAYERS, thinned, the newest probe kept."""
    table = history[gradients_table(variant)]
    rows, k = len(table), WEIGHT_LAYERS.index(layer)
    steps, norms, ratios = (
        sampled(table, name, points, rows) for name in ("step", "grad_norm", "update_ratio")
    )
    return pd.DataFrame({"step": steps, "grad_norm": norms[:, k], "update_ratio": ratios[:, k]})


def gradient_range(config: RunConfig, history: History, layer: str) -> tuple[int, int]:
    """Powers of ten that hold nearly all gradient sizes of a BN layer: all variants, sides, probes.

    Of the sizes that are not 0 the smallest tenth of each probe may lie below.
    """
    lows, highs = [], []
    for variant in config.variants:
        table = history[gradients_table(variant)]
        stride = max(1, len(table) // 64)
        rows = table.column("quantiles", step=stride)[:, list(LAYERS).index(layer)]
        sizes = np.abs(rows.reshape(-1, rows.shape[-1]).astype(float))
        sizes = np.sort(sizes[np.isfinite(sizes).all(axis=1) & (sizes > 0).any(axis=1)], axis=1)
        if len(sizes):
            zeros = (sizes == 0).sum(axis=1)
            tenth = zeros + (sizes.shape[1] - zeros) // 10
            lows.append(sizes[np.arange(len(sizes)), tenth].min())
            highs.append(sizes[:, -1].max())
    if not lows:
        return -8, 0
    low, high = int(np.floor(np.log10(min(lows)))), int(np.ceil(np.log10(max(highs))))
    return low, max(high, low + 1)


def size_shares(quantiles: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Share of all values (0 to 1) whose size, sign aside, is in each bin; from quantiles at LEVELS.

    `edges` are positive, so values of exactly 0 are in no bin.
    """
    values = quantiles.astype(float)
    up_to = [np.interp(at, values, LEVELS, left=0.0, right=1.0) for at in (edges, -edges)]
    return np.diff(up_to[0] - up_to[1])
