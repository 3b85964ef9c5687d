"""What charts read of the statistics that a history holds, and replays of them. No torch."""

import numpy as np

from bnviz.config import LIVE_SETTINGS, RunConfig
from bnviz.nn.layers import POSITIONS
from bnviz.records.history import History
from bnviz.records.moving_averages import replay
from bnviz.records.schema import LAYERS, layer_slice, steps_table


def values_per_channel(config: RunConfig, layer: str) -> int:
    """How many values of a batch share one mean: batch size times the positions of a map."""
    return config.batch_size * POSITIONS[layer]


def unbiasing(config: RunConfig, layer: str) -> float:
    """What makes a biased batch variance of `layer` unbiased: n / (n - 1), 1 for a single value."""
    count = values_per_channel(config, layer)
    return count / (count - 1) if count > 1 else 1.0


def settings_at(config: RunConfig, history: History, step: int) -> dict[str, float | None]:
    """`lr`, `momentum` and `eps` that `step` was made with, changes in mid-run respected."""
    found: dict[str, float | None] = {name: getattr(config, name) for name in LIVE_SETTINGS}
    for event in history.events:
        if event["kind"] == "set" and step > event["step"]:
            found[event["name"]] = event["new"]
    return found


def eps_at(config: RunConfig, history: History, step: int) -> float:
    """The eps that `step` was made with, see `settings_at`."""
    return settings_at(config, history, step)["eps"]  # type: ignore[return-value]


def starting_statistics(config: RunConfig, variant: str) -> tuple[float, float, bool]:
    """Initial running mean and variance of a variant, and whether its variance is unbiased."""
    if variant != "note":
        return 0.0, 1.0, True
    quirks = config.quirks
    return 0.0, 0.0 if quirks.zero_running_var else 1.0, not quirks.biased_running_var


def replay_layer(
    config: RunConfig,
    history: History,
    variant: str,
    layer: str,
    momentum: float | np.ndarray | None,
    channels: list[int] | None = None,
    stop: int | None = None,
    *,
    unbiased: bool | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps, and running mean and variance (steps, channels) as `momentum` would have made them.

    With `unbiased` the variance of each batch is divided by n - 1 on its way into the average, as
    torch does, without it by n; None is the layer's own way.
    """
    table = history[steps_table(variant)]
    rows = len(table) if stop is None else min(stop, len(table))
    where = layer_slice(layer)
    picked = np.arange(where.start, where.stop)[channels if channels is not None else slice(None)]
    mean, var, own = starting_statistics(config, variant)
    unbiased = own if unbiased is None else unbiased
    means, variances = replay(
        table.column("batch_mean", stop=rows)[:, picked],
        table.column("batch_var", stop=rows)[:, picked],
        momentum=momentum,
        initial_mean=mean,
        initial_var=var,
        count=values_per_channel(config, layer) if unbiased else None,
    )
    return table.column("step", stop=rows), means, variances


def replayed_statistics(
    config: RunConfig, history: History, variant: str, momentum: float | None, step: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Running mean and variance of every layer after `step`, at another momentum."""
    result = {}
    for layer in LAYERS:
        _steps, means, variances = replay_layer(
            config, history, variant, layer, momentum, stop=step
        )
        result[layer] = (means[-1], variances[-1])
    return result


def own_statistics(
    history: History, variant: str, layer: str, step: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The layer's own running mean and variance after `step` (the last), of shape (C,) each."""
    table, where = history[steps_table(variant)], layer_slice(layer)
    row = len(table) if step is None else step
    mean, var = (
        table.column(name, start=row - 1, stop=row)[0, where]
        for name in ("running_mean", "running_var")
    )
    return mean, var


def precise_batch(batch_size: int) -> int:
    """The batch of a pass in train mode: the run's, where that is not 1 (nothing to normalize by)."""
    return max(batch_size, 2)
