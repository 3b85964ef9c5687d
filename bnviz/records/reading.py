"""What charts read from a history: at most some hundreds of points, whatever the run's length.

No torch: a stored run is drawn without it.
"""

from typing import Any

import numpy as np
import pandas as pd

from bnviz.config import RunConfig
from bnviz.nn.variants import VARIANTS
from bnviz.records.history import History, Table
from bnviz.records.schema import (
    LAYERS,
    LEVELS,
    MODES,
    RECORDED_STAGES,
    STAGES,
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
    at = last_up_to(table, step)
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


def last_up_to(table: Table, step: int | None) -> int | None:
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
    return sampled(table, "step", points, len(table))


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
    steps = sampled(table, "step", points, rows)
    recorded = sampled(table, "quantiles", points, rows)
    return _finite(steps, _stage(config, variant, layer, stage, recorded))


def _finite(steps: np.ndarray, quantiles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both without the rows in which a quantile is no number."""
    there = np.isfinite(quantiles).all(axis=1)
    return steps[there], quantiles[there]


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
    steps = sampled(table, "step", points, rows)[1:]
    earlier = sampled(table, "quantiles", points, rows, back=1)
    return _finite(steps, _stage(config, variant, layer, stage, earlier))


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


def sampled(table: Table, name: str, points: int, rows: int, back: int = 0) -> np.ndarray:
    """The first of `rows` rows of a column, evenly spaced ones after it, and the newest.

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
        sampled(table, name, points, rows) for name in ("step", "batch_mean", "batch_var")
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


def memory_curves(history: History, variant: str, points: int = 200) -> pd.DataFrame:
    """Step, kept_bytes and graph_nodes of a variant, thinned with the newest row kept."""
    return _thinned(history[memory_table(variant)], points)


def process_curve(history: History, points: int = 200) -> pd.DataFrame:
    """Step, memory of the process, device_allocated and device_reserved, all in bytes.

    The process's column is ``own`` where its own memory was recorded, else ``rss``: in runs of
    earlier versions and where the system does not tell them apart.
    """
    frame = _thinned(history["process"], points)
    known = "own" in frame and bool((frame["own"] >= 0).all())
    return frame.drop(columns=["rss" if known else "own"], errors="ignore")


def _thinned(table: Table, points: int) -> pd.DataFrame:
    rows = len(table)
    return pd.DataFrame({name: sampled(table, name, points, rows) for name in table.schema.columns})
