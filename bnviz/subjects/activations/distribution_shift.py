"""How much distributions move: what the paper on Batch Normalization calls covariate shift.

From quantiles, so without torch and for a whole run at once.
"""

import numpy as np
import pandas as pd

from bnviz.errors import ConfigError
from bnviz.i18n import _

SATURATED = 0.01
"""Share of the sigmoid's largest derivative below which a unit hardly passes a gradient."""


def wasserstein(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """1-D Wasserstein distance of distributions given by quantiles at the same even levels.

    Mean absolute difference of the quantile functions over the last axis, in the unit of the
    values (Ramdas et al. 2017, https://doi.org/10.3390/e19020047, section 2). Exact for samples of
    as many values; of more values it is what their quantiles at these levels come to.

    Raises ConfigError for another number of quantiles or values that are not finite.
    """
    one, other = np.asarray(one, float), np.asarray(other, float)
    if one.shape[-1] != other.shape[-1]:
        raise ConfigError(
            _("quantiles: got {one} and {other} of them; allowed: as many of both.").format(
                one=one.shape[-1], other=other.shape[-1]
            )
        )
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        raise ConfigError(_("quantiles: got NaN or inf; allowed: finite numbers."))
    return np.abs(one - other).mean(axis=-1)


def drift(
    steps: np.ndarray,
    quantiles: np.ndarray,
    before: tuple[np.ndarray, np.ndarray] | None = None,
) -> pd.DataFrame:
    """How far each probe's distribution is from the probe before and from the last one.

    `steps` (probes,), `quantiles` (probes, levels) ascending along the levels. Where some probes
    are left out, `before` has steps of `steps` and, for each, the quantiles of the probe that was
    made just before it; without it that is the row before. Columns step, moved
    (distance to the probe before, the first has none), to_last and spread (standard deviation of
    the quantiles), all in the unit of the values. A diverged probe ends the table.
    """
    finite = np.isfinite(quantiles).all(axis=1)
    whole = len(finite) if finite.all() else int(finite.argmin())
    steps, quantiles = steps[:whole], quantiles[:whole]
    moved = np.full(whole, np.nan)
    if whole and before is None:
        moved[1:] = wasserstein(quantiles[1:], quantiles[:-1])
    elif before is not None:
        _both, here, there = np.intersect1d(steps, before[0], return_indices=True)
        moved[here] = wasserstein(quantiles[here], before[1][there])
    return pd.DataFrame(
        {
            "step": steps,
            "moved": moved,
            "to_last": wasserstein(quantiles, quantiles[-1:]) if whole else moved,
            "spread": quantiles.std(
                axis=1, dtype=np.float64
            ),  # a diverging run squares large numbers
        }
    )


def shape_of(quantiles: np.ndarray, activation: str | None = None) -> dict[str, float]:
    """Mean, standard deviation, skew and excess kurtosis of a distribution given by quantiles.

    With `activation`, the stage after it, `saturated` is the share (0 to 1) of values at which it
    hardly passes a gradient: for ``sigmoid`` a derivative y (1 - y) below 1 % of its maximum 1/4,
    for ``relu`` zeros. Moments of 128 quantiles, so the outermost values weigh less than in the
    sample itself.
    """
    values = np.asarray(quantiles, float)
    mean, std = float(values.mean()), float(values.std())
    standard = (values - mean) / std if std > 0 else np.zeros_like(values)
    result = {
        "mean": mean,
        "std": std,
        "skew": float((standard**3).mean()),
        "kurtosis": float((standard**4).mean() - 3) if std > 0 else 0.0,
    }
    if activation is not None:
        result["saturated"] = float(saturated_share(values, activation))
    return result


def saturated_share(values: np.ndarray, activation: str) -> np.ndarray:
    """Share (0 to 1) of saturated values along the last axis, after the activation.

    ``sigmoid``: a derivative y (1 - y) below SATURATED of its maximum 1/4. ``relu``: zeros.
    """
    stuck = values * (1 - values) < SATURATED / 4 if activation == "sigmoid" else values <= 0
    return stuck.mean(axis=-1)
