"""What charts read from a history: at most some hundreds of points, whatever the run's length.

No torch: a stored run is drawn without it.
"""

from typing import Any

import numpy as np
import pandas as pd

from bnviz.analysis.estimators import replay
from bnviz.config import RunConfig
from bnviz.nn.variants import VARIANTS
from bnviz.train.history import History, Table
from bnviz.train.schema import (
    LAYERS,
    LEVELS,
    MODES,
    RECORDED_STAGES,
    SIDES,
    STAGES,
    WEIGHT_LAYERS,
    gradients_table,
    layer_slice,
    memory_table,
    stages_table,
    steps_table,
)

POINTS = 150
PROBES = 64
ACTIVATIONS = {"sigmoid": lambda v: 1 / (1 + np.exp(-v)), "relu": lambda v: np.maximum(v, 0)}


def loss_curve(history: History, variant: str, points: int = POINTS) -> pd.DataFrame:
    """Training loss thinned so that extremes survive: step, mean, low, high of each bucket."""
    table = history[steps_table(variant)]
    steps, loss = table.column("step"), table.column("loss")
    if not len(steps):
        return pd.DataFrame({"step": [], "mean": [], "low": [], "high": []})
    width = -(-len(steps) // points)
    edges = np.arange(0, len(steps), width)
    counts = np.diff(np.append(edges, len(steps)))
    return pd.DataFrame(
        {
            "step": steps[edges] + (counts - 1) / 2,
            "mean": np.add.reduceat(loss, edges) / counts,
            "low": np.minimum.reduceat(loss, edges),
            "high": np.maximum.reduceat(loss, edges),
        }
    )


def accuracy_curves(config: RunConfig, history: History) -> pd.DataFrame:
    """Evaluations in long form: step, variant, mode, images, batch_size, accuracy, loss.

    Variant and mode are categories: as strings they took most of the time of a tick.
    """
    table = history["evaluations"]
    rows = len(table)
    columns: dict[str, Any] = {n: table.column(n, stop=rows) for n in table.schema.columns}
    for name, words in (("variant", config.variants), ("mode", MODES)):
        columns[name] = pd.Categorical.from_codes(columns[name].tolist(), pd.Index(words))
    return pd.DataFrame(columns)


def latest_step(history: History, variant: str) -> int:
    """The last recorded step of `variant`, 0 before the first."""
    table = history[steps_table(variant)]
    return int(table.column("step", start=len(table) - 1)[-1]) if len(table) else 0


def stage_quantiles(
    config: RunConfig, history: History, variant: str, layer: str, step: int | None = None
) -> tuple[int, dict[str, np.ndarray]] | None:
    """Quantiles (at LEVELS) of the four stages of `layer` at the last probe up to `step`.

    Where the run has diverged, at the last probe whose values were numbers. Returns the probe's
    step and the stages that the variant has, or None before the first such probe.
    """
    table = history[stages_table(variant)]
    at = _last_up_to(table, step)
    if at is None:
        return None
    stages: dict[str, np.ndarray] = {}
    while "input" not in stages:
        if at < 0:
            return None
        row = table.column("quantiles", start=at, stop=at + 1)[0, list(LAYERS).index(layer)]
        stages = {n: row[k] for k, n in enumerate(RECORDED_STAGES) if np.isfinite(row[k]).all()}
        at -= 1
    at += 1
    stages["activation"] = ACTIVATIONS[config.activation](stages.get("scaled", stages["input"]))
    at_step = int(table.column("step")[at])
    return at_step, {name: stages[name] for name in STAGES if name in stages}


def _last_up_to(table: Table, step: int | None) -> int | None:
    """The place of the last row up to `step` (the newest for None), None in an empty table.

    Before the first row it is the first.
    """
    steps = table.column("step")
    if not len(steps):
        return None
    if step is None:
        return len(steps) - 1
    return max(int(np.searchsorted(steps, step, "right")) - 1, 0)


def probe_steps(history: History, variant: str, points: int = PROBES) -> np.ndarray:
    """The steps at which the activations of `variant` were probed, thinned.

    The first and the newest are always there, and a step that is kept stays while the run grows,
    until twice as many are left out.
    """
    table = history[stages_table(variant)]
    return _sampled(table, "step", points, len(table))


def stage_history(
    config: RunConfig,
    history: History,
    variant: str,
    layer: str,
    stage: str,
    points: int = PROBES,
) -> tuple[np.ndarray, np.ndarray]:
    """Steps (probes,) and quantiles at LEVELS (probes, QUANTILES) of one stage over the run.

    Thinned as `probe_steps`; none for a stage that the variant has not, and none of a probe whose
    values were no numbers.
    """
    table = history[stages_table(variant)]
    rows = len(table)
    steps = _sampled(table, "step", points, rows)
    chosen = _stage(config, variant, layer, stage, _sampled(table, "quantiles", points, rows))
    there = np.isfinite(chosen).all(axis=1)
    return steps[there], chosen[there]


def stage_moves(
    config: RunConfig,
    history: History,
    variant: str,
    layer: str,
    stage: str,
    points: int = PROBES,
) -> tuple[np.ndarray, np.ndarray]:
    """For the probes of `stage_history` but the first: steps, and quantiles of the probe before.

    The probe before is the one that was made before it, also where it is left out by thinning.
    """
    table = history[stages_table(variant)]
    rows = len(table)
    steps = _sampled(table, "step", points, rows)[1:]
    earlier = _sampled(table, "quantiles", points, rows, back=1)
    chosen = _stage(config, variant, layer, stage, earlier)
    there = np.isfinite(chosen).all(axis=1)
    return steps[there], chosen[there]


def _stage(config: RunConfig, variant: str, layer: str, stage: str, rows: np.ndarray) -> np.ndarray:
    """Quantiles (probes, QUANTILES) of one stage from those of all that are recorded."""
    of_layer = rows[:, list(LAYERS).index(layer)]
    if stage != "activation":
        return of_layer[:, RECORDED_STAGES.index(stage)]
    before = "scaled" if VARIANTS[variant].normalizes else "input"
    return ACTIVATIONS[config.activation](of_layer[:, RECORDED_STAGES.index(before)])


def _stride(rows: int, points: int) -> int:
    """The least power of two that thins `rows` to at most `points`: what is kept stays kept."""
    return 1 << max(0, (-(-rows // points) - 1).bit_length())


def _sampled(table: Table, name: str, points: int, rows: int, back: int = 0) -> np.ndarray:
    """The first of `rows` rows of a column, every so manieth after it, and the newest.

    With `back` the rows so many places before each of them, but for the first.
    """
    stride = _stride(rows, points)
    first = back and stride - back
    kept = table.column(name, start=first, stop=max(rows - back, 0), step=stride)
    if rows and (rows - 1) % stride:
        newest = table.column(name, start=rows - 1 - back, stop=rows - back)
        kept = np.concatenate([kept, newest])
    return kept


def stage_range(config: RunConfig, history: History, layer: str, stage: str) -> tuple[float, float]:
    """A range that holds nearly all values of a stage at every probe of every variant so far.

    Rounded outwards to a few steps a decade, so that axes rarely move while a run grows.
    """
    if stage == "activation" and config.activation == "sigmoid":
        return 0.0, 1.0
    source = "scaled" if stage == "activation" else stage
    low = high = 0.0
    for variant in config.variants:
        table = history[stages_table(variant)]
        stride = max(1, len(table) // 64)
        of_variant = source if VARIANTS[variant].normalizes else "input"
        values = _stage(config, variant, layer, of_variant, table.column("quantiles", step=stride))
        values = values[np.isfinite(values).all(axis=1)]
        if len(values):
            low = min(low, float(values[:, 0].min()))
            high = max(high, float(values[:, -1].max()))
    if stage == "activation":
        low = 0.0
    return -_round_up(-low), _round_up(high)


def layer_range(config: RunConfig, history: History, layer: str) -> tuple[float, float]:
    """One range for what enters a layer's BN and what leaves it: that of all stages up to there."""
    ranges = [stage_range(config, history, layer, stage) for stage in RECORDED_STAGES]
    return min(low for low, _high in ranges), max(high for _low, high in ranges)


def channel_history(
    history: History, variant: str, layer: str, channels: list[int], points: int = POINTS
) -> dict[str, np.ndarray]:
    """``step`` (points,), and ``mean`` and ``std`` (points, channels) of the batches before BN.

    Thinned to at most about `points` steps, the newest kept; none for a variant without BN.
    """
    table = history[steps_table(variant)]
    rows = len(table)
    step, mean, var = (
        _sampled(table, name, points, rows) for name in ("step", "batch_mean", "batch_var")
    )
    picked = np.arange(layer_slice(layer).start, layer_slice(layer).stop)[channels]
    mean, var = mean[:, picked], var[:, picked]
    there = np.isfinite(mean).all(axis=1)
    return {"step": step[there], "mean": mean[there], "std": np.sqrt(var[there])}


def _round_up(value: float) -> float:
    if value <= 0:
        return 0.0
    power = 10.0 ** np.floor(np.log10(value))
    return float(
        next(m * power for m in (1, 1.5, 2, 3, 4, 6, 8, 10) if m * power >= value * (1 - 1e-9))
    )


def density(quantiles: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Share of values (0 to 1) in each bin, from quantiles at LEVELS; edges are shared by callers.

    The distribution function between two quantiles is taken as straight.
    """
    if quantiles[0] == quantiles[-1]:
        return np.histogram(quantiles[:1], edges)[0].astype(float)
    # A tiny ramp keeps equal quantiles (zeros of a ReLU) in order.
    ramp = np.arange(len(quantiles)) * 1e-9 * (quantiles[-1] - quantiles[0])
    return np.diff(np.interp(edges, quantiles + ramp, LEVELS, left=0.0, right=1.0))


def gradient_quantiles(
    history: History, variant: str, layer: str, step: int | None = None
) -> tuple[int, dict[str, np.ndarray]] | None:
    """Quantiles (at LEVELS) of the gradient at both SIDES of a BN layer, last probe up to `step`.

    Returns the probe's step and the quantiles by side, or None where nothing was recorded.
    """
    table = history[gradients_table(variant)]
    at = _last_up_to(table, step)
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
    at = _last_up_to(table, step)
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
        _sampled(table, name, points, rows) for name in ("step", "grad_norm", "update_ratio")
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


def values_per_channel(config: RunConfig, layer: str) -> int:
    """How many values of a batch share one mean: batch size times the positions of a map."""
    return config.batch_size * {"conv1": 24 * 24, "conv2": 8 * 8}.get(layer, 1)


def unbiasing(config: RunConfig, layer: str) -> float:
    """What makes a biased batch variance of `layer` unbiased: n / (n - 1), 1 for a single value."""
    count = values_per_channel(config, layer)
    return count / (count - 1) if count > 1 else 1.0


def momentum_schedule(config: RunConfig, history: History, steps: np.ndarray) -> np.ndarray:
    """The momentum that each of `steps` was made with, changes in mid-run respected."""
    return _schedule(config.momentum, history, "momentum", steps)


def eps_at(config: RunConfig, history: History, step: int) -> float:
    """The eps that `step` was made with, changes in mid-run respected."""
    return float(_schedule(config.eps, history, "eps", np.array([step]))[0])


def _schedule(start: float | None, history: History, name: str, steps: np.ndarray) -> np.ndarray:
    schedule = np.full(len(steps), start, float)
    for event in history.events:
        if event["kind"] == "set" and event["name"] == name:
            schedule[steps > event["step"]] = event["new"]
    return schedule


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


def memory_curves(history: History, variant: str, points: int = 200) -> pd.DataFrame:
    """Step, kept_bytes and graph_nodes of a variant, thinned with the newest row kept."""
    return _thinned(history[memory_table(variant)], points)


def process_curve(history: History, points: int = 200) -> pd.DataFrame:
    """Step, rss, device_allocated and device_reserved in bytes."""
    return _thinned(history["process"], points)


def _thinned(table: Table, points: int) -> pd.DataFrame:
    rows = len(table)
    return pd.DataFrame(
        {name: _sampled(table, name, points, rows) for name in table.schema.columns}
    )
