"""Running statistics, rebuilt: any momentum from the recorded statistics of the batches.

In train mode the running statistics do not enter the output, so they never influence training:
what another momentum would have made of the same batches can be worked out afterwards, exactly.
"""

import numpy as np
import pandas as pd

from bnviz.errors import ConfigError
from bnviz.i18n import _


def replay(
    batch_means: np.ndarray,
    batch_vars: np.ndarray,
    *,
    momentum: float | np.ndarray | None,
    initial_mean: float | np.ndarray = 0.0,
    initial_var: float | np.ndarray = 1.0,
    count: int | None = None,
    seen: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Running mean and variance after each step, both of shape (steps, channels).

    ``running = (1 - momentum) * running + momentum * batch`` as in
    https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html. `momentum` is the
    weight of the new batch: a number from 0 to 1, one number a step, or None for the cumulative
    average. `batch_vars` are biased; with `count` values per channel they are made unbiased
    (times n / (n - 1)) as torch does, without it they are taken as they are. `seen` is how many
    steps went into the initial values (for the cumulative average).

    Raises ConfigError for a momentum outside 0 to 1 or arrays of different shapes.
    """
    if batch_means.shape != batch_vars.shape or batch_means.ndim != 2:
        raise ConfigError(
            _(
                "batch_means, batch_vars: got shapes {means} and {variances}; allowed: the same "
                "shape (steps, channels)."
            ).format(means=batch_means.shape, variances=batch_vars.shape)
        )
    if momentum is not None and not np.all(
        (np.asarray(momentum) >= 0) & (np.asarray(momentum) <= 1)
    ):
        raise ConfigError(
            _("momentum: got {value}; allowed: 0 to 1, or none.").format(value=momentum)
        )
    factor = 1.0 if count is None or count < 2 else count / (count - 1)
    return (
        _average(batch_means, momentum, initial_mean, seen),
        _average(batch_vars * factor, momentum, initial_var, seen),
    )


def _average(
    values: np.ndarray, momentum: float | np.ndarray | None, initial: float | np.ndarray, seen: int
) -> np.ndarray:
    if momentum is None:
        total = np.cumsum(values, axis=0, dtype=float) + np.asarray(initial) * seen
        return total / (seen + np.arange(1, len(values) + 1))[:, None]
    start = np.broadcast_to(np.asarray(initial, float), values.shape[1:])
    if isinstance(momentum, int | float):
        if momentum == 0:
            return np.broadcast_to(start, values.shape).copy()
        with_start = pd.DataFrame(np.vstack([start, values]))
        return with_start.ewm(alpha=momentum, adjust=False).mean().to_numpy()[1:]
    result = np.empty(values.shape)
    running = start
    for k, weight in enumerate(np.asarray(momentum)):
        running = running + weight * (values[k] - running)
        result[k] = running
    return result
