"""Running statistics, rebuilt: any momentum from the recorded statistics of the batches.

In train mode the running statistics do not enter the output, so they never influence training:
what another momentum would have made of the same batches can be worked out afterwards, exactly.

An exponential moving average (EMA) with momentum m is a weighted sum, so how long it remembers,
how noisy it is and how much of its start value is left follow in closed form from m alone.
"""

import math

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from bnviz.errors import ConfigError, check_choice, check_share
from bnviz.i18n import _

CONVENTIONS = ("new", "old")


def replay(
    batch_means: ArrayLike,
    batch_vars: ArrayLike,
    *,
    momentum: float | np.ndarray | None,
    initial_mean: float | np.ndarray = 0.0,
    initial_var: float | np.ndarray = 1.0,
    convention: str = "new",
    count: int | None = None,
    seen: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Running mean and variance after each step, both of shape (steps, channels).

    ``running = (1 - momentum) * running + momentum * batch`` as in
    https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html. `momentum` is a
    number from 0 to 1, one number a step, or None for the cumulative average. With `convention`
    ``new`` it is the weight of the new batch, as in torch; with ``old`` that of the old value, as
    in https://www.tensorflow.org/api_docs/python/tf/keras/layers/BatchNormalization, so that 0.9
    there is 0.1 here. None is the same in both.

    `batch_vars` are biased; with `count` values per channel they are made unbiased (times
    n / (n - 1)) as torch does, without it they are taken as they are. The initial values are
    numbers or of shape (channels,). `seen` is how many steps went into them (for the cumulative
    average).

    Raises ConfigError for another convention, a momentum outside 0 to 1, arrays of other shapes
    and a NaN or inf in them.
    """
    check_choice("convention", convention, CONVENTIONS)
    means, variances = _array("batch_means", batch_means), _array("batch_vars", batch_vars)
    _check_batches(means, variances)
    weight = _weight_of_new(momentum, convention, len(means))
    factor = 1.0 if count is None or count < 2 else count / (count - 1)
    start_mean = _start("initial_mean", initial_mean, means.shape[1])
    start_var = _start("initial_var", initial_var, means.shape[1])
    return (
        _average(means, weight, start_mean, seen),
        _average(variances * factor, weight, start_var, seen),
    )


def _check_batches(means: np.ndarray, variances: np.ndarray) -> None:
    """Refuse statistics of batches that are not two tables of finite numbers of one shape."""
    if means.shape != variances.shape or means.ndim != 2:
        raise ConfigError(
            _(
                "batch_means, batch_vars: got shapes {means} and {variances}; allowed: the same "
                "shape (steps, channels)."
            ).format(means=means.shape, variances=variances.shape)
        )
    for name, values in (("batch_means", means), ("batch_vars", variances)):
        _check_finite(name, values)


def _array(name: str, values: ArrayLike) -> np.ndarray:
    """`values` as an array of floats."""
    try:
        return np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            _("{name}: got {reason}; allowed: an array of numbers (steps, channels).").format(
                name=name, reason=error
            )
        ) from error


def _check_finite(name: str, values: np.ndarray) -> None:
    """Refuse a NaN or inf in `values` (steps, channels), naming the first step that has one."""
    finite = np.isfinite(values)
    if finite.all():
        return
    step, channel = np.argwhere(~finite)[0]
    raise ConfigError(
        _(
            "{name}: got {value} in channel {channel} at step {step}, the first that is not "
            "finite; allowed: finite numbers. Take the {before} steps before it."
        ).format(
            name=name, value=values[step, channel], channel=channel, step=step + 1, before=step
        )
    )


def _start(name: str, value: float | np.ndarray, channels: int) -> np.ndarray:
    """The initial values of all channels, shape (channels,)."""
    array = _array(name, value)
    if array.shape not in ((), (channels,)) or not np.isfinite(array).all():
        raise ConfigError(
            _("{name}: got {value}; allowed: a finite number, or {channels} of them.").format(
                name=name, value=value, channels=channels
            )
        )
    return np.broadcast_to(array, (channels,))


def _weight_of_new(
    momentum: float | np.ndarray | None, convention: str, steps: int
) -> float | np.ndarray | None:
    """The weight of the new batch: a float, an array of shape (steps,), or None."""
    if momentum is None:
        return None
    given = np.asarray(momentum, float)
    if not np.all((given >= 0) & (given <= 1)):
        raise ConfigError(
            _("momentum: got {value}; allowed: 0 to 1, or none.").format(value=momentum)
        )
    if given.shape not in ((), (steps,)):
        raise ConfigError(
            _("momentum: got shape {shape}; allowed: a number or one a step, ({steps},).").format(
                shape=given.shape, steps=steps
            )
        )
    weight = given if convention == "new" else 1 - given
    return weight if weight.ndim else float(weight)


def _average(
    values: np.ndarray, weight: float | np.ndarray | None, start: np.ndarray, seen: int
) -> np.ndarray:
    if weight is None:
        total = np.cumsum(values, axis=0) + start * seen
        return total / (seen + np.arange(1, len(values) + 1))[:, None]
    if isinstance(weight, float):
        if weight == 0:
            return np.broadcast_to(start, values.shape).copy()
        with_start = pd.DataFrame(np.vstack([start, values]))
        return with_start.ewm(alpha=weight, adjust=False).mean().to_numpy()[1:]
    result = np.empty(values.shape)
    running = start
    for k, new in enumerate(weight):
        running = running + new * (values[k] - running)
        result[k] = running
    return result


def pooled(
    counts: ArrayLike, means: ArrayLike, variances: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and unbiased variance (channels,) of all values, from those of batches of any size.

    `counts` values per channel (batches,), `means` and biased `variances` (batches, channels). By
    the law of total variance the sum of squares is that within the batches plus that between
    their means::

        (N - 1) var = sum of n_b (var_b + (mean_b - mean)^2),   N = sum of n_b

    as in Wu & Johnson 2021, https://arxiv.org/abs/2105.07576, section 3.1. The mean of the batch
    variances would leave the second part out.
    """
    n = np.asarray(counts, float)[:, None]
    batch_mean, batch_var = np.asarray(means, float), np.asarray(variances, float)
    total = n.sum()
    mean = (n * batch_mean).sum(0) / total
    squares = (n * (batch_var + (batch_mean - mean) ** 2)).sum(0)
    return mean, squares / (total - 1)


def _check_momentum(momentum: float) -> float:
    check_share("momentum", momentum)
    return float(momentum)


def ema_weights(momentum: float, steps: int) -> tuple[np.ndarray, float]:
    """Weight of each of the last `steps` batches in the present value, and that of the start.

    The weights (steps,), newest first, are m (1 - m)^k for the batch k steps ago, and
    (1 - m)^steps is left of the start value (the recurrence of `replay`, written out); together
    they are 1. Raises ConfigError for a momentum outside 0 to 1.
    """
    m = _check_momentum(momentum)
    return m * (1 - m) ** np.arange(steps), start_bias(m, steps)


def start_bias(momentum: float, steps: int) -> float:
    """Share of the start value in the EMA after `steps`, (1 - m)^steps.

    Raises ConfigError for a momentum outside 0 to 1.
    """
    return (1 - _check_momentum(momentum)) ** steps


def noise(momentum: float) -> float:
    """Variance of the EMA of independent batches relative to that of one batch, m / (2 - m).

    The sum of the squares of all weights; the formula of the control chart for EWMA,
    https://www.itl.nist.gov/div898/handbook/pmc/section3/pmc324.htm. With 1 the EMA is the last
    batch, with 0 it never moves. Raises ConfigError for a momentum outside 0 to 1.
    """
    m = _check_momentum(momentum)
    return m / (2 - m)


def effective_window(momentum: float) -> float:
    """How many batches, averaged alike, would be as noisy as the EMA: (2 - m) / m.

    The inverse of `noise`, and the `span` of
    https://pandas.pydata.org/docs/reference/api/pandas.DataFrame.ewm.html. Infinite for 0. Raises
    ConfigError for a momentum outside 0 to 1.
    """
    m = _check_momentum(momentum)
    return (2 - m) / m if m else math.inf


def half_life(momentum: float) -> float:
    """Steps after which a batch weighs half as much as at first, ln 0.5 / ln(1 - m).

    The `halflife` of https://pandas.pydata.org/docs/reference/api/pandas.DataFrame.ewm.html.
    Infinite for 0, and 0 for 1. Raises ConfigError for a momentum outside 0 to 1.
    """
    return _steps_until(0.5, _check_momentum(momentum))


def settled(momentum: float, share: float = 0.99) -> float:
    """Whole steps until `share` (0 to 1) of the start value is replaced by batches.

    The least t with 1 - (1 - m)^t >= share, so ln(1 - share) / ln(1 - m) rounded up; infinite
    where that never comes. Raises ConfigError for a momentum or a share outside 0 to 1.
    """
    check_share("share", share)
    m = _check_momentum(momentum)
    if share == 0:
        return 0.0
    if m == 1:
        return 1.0
    # A hair less, so that rounding does not make 3 of 2.0000000000000004 steps.
    steps = _steps_until(1 - share, m) * (1 - 1e-12)
    return float(math.ceil(steps)) if math.isfinite(steps) else math.inf


def _steps_until(left: float, m: float) -> float:
    """The t with (1 - m)^t = left."""
    if m == 1:
        return 0.0
    if m == 0 or left == 0:
        return math.inf
    return math.log(left) / math.log1p(-m)


def corrected(
    running: np.ndarray,
    momentum: float,
    initial: float | np.ndarray = 0.0,
    steps: np.ndarray | None = None,
) -> np.ndarray:
    """An EMA with its bias corrected, that is without its start value, of the shape of `running`, (steps,) or (steps, channels).

    ``(running_t - (1 - m)^t initial) / (1 - (1 - m)^t)`` for the rows t = 1, 2, … of `replay`, or
    for those of which `steps` gives the t: the weighted mean of the batches seen so far. With an
    initial value of 0 it is the bias correction of Adam (Kingma & Ba 2015,
    https://arxiv.org/abs/1412.6980, section 3). NaN for a momentum of 0, where no batch ever
    counts. Raises ConfigError for a momentum outside 0 to 1.
    """
    m = _check_momentum(momentum)
    running = np.asarray(running, float)
    if m == 0:
        return np.full(running.shape, np.nan)
    t = np.arange(1, len(running) + 1) if steps is None else np.asarray(steps, float)
    t = t.reshape([-1] + [1] * (running.ndim - 1))
    # 1 - (1 - m)^t without the digits that a small m would lose.
    replaced = -np.expm1(t * math.log1p(-m)) if m < 1 else 1.0
    return (running - (1 - m) ** t * np.asarray(initial)) / replaced
