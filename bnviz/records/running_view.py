"""Running statistics of a few channels for a chart that follows a run: thinned, extremes kept.

What is kept does not grow with the run, and a tick reads only what is new.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bnviz.config import RunConfig
from bnviz.records.history import History
from bnviz.records.moving_averages import replay
from bnviz.records.recorded_statistics import starting_statistics, values_per_channel
from bnviz.records.schema import layer_slice, steps_table

LINE_POINTS = 75
"""A line has so many points at least once there are so many steps, and twice as many at most."""
DOT_BUCKETS = 20
"""Batches are drawn as the smallest and the largest of so many stretches, of all channels together."""
READ_AT_ONCE = 4096
RECENT = 100


def width_for(rows: int, points: int) -> int:
    """The least power of two by which `rows` are to be thinned to at most twice `points`."""
    return 1 << max(0, (-(-rows // (2 * points)) - 1).bit_length())


class Thinned:
    """Evenly spaced rows of a growing array (rows, C), always the same ones at the same length."""

    def __init__(self, points: int):
        self._points = points
        self._at, self._kept = np.empty(0, int), np.empty((0, 0))
        self._rows = 0
        self._newest = np.empty((0, 0))

    def add(self, values: np.ndarray) -> None:
        """More rows (n, C)."""
        at = np.arange(self._rows, self._rows + len(values))
        self._rows += len(values)
        self._newest = values[-1:]
        width = width_for(self._rows, self._points)
        self._at = np.concatenate([self._at, at])
        self._kept = np.concatenate([self._kept, values]) if len(self._kept) else values
        chosen = (self._at + 1) % width == 0
        self._at, self._kept = self._at[chosen], self._kept[chosen]

    def rows(self) -> np.ndarray:
        """Which rows are kept, ascending, the newest always among them."""
        newest = self._rows - 1
        if not self._rows or (len(self._at) and self._at[-1] == newest):
            return self._at
        return np.append(self._at, newest)

    def values(self) -> np.ndarray:
        """The values of `rows`, (rows, C)."""
        if len(self.rows()) == len(self._at):
            return self._kept
        return np.concatenate([self._kept, self._newest]) if len(self._kept) else self._newest


class Extremes:
    """The smallest and the largest value of each stretch of a growing array (rows, C)."""

    def __init__(self, buckets: int, channels: int):
        self._buckets = buckets
        self._rows = 0
        shape = (0, channels)
        self._at = [np.empty(shape, int), np.empty(shape, int)]
        self._found = [np.empty(shape), np.empty(shape)]

    def add(self, values: np.ndarray) -> None:
        """More rows (n, C). One that is no number counts only where its stretch has no other."""
        first, self._rows = self._rows, self._rows + len(values)
        width = width_for(self._rows, self._buckets)
        at = np.broadcast_to(np.arange(first, self._rows)[:, None], values.shape)
        for k, worst in enumerate((np.inf, -np.inf)):
            self._at[k], self._found[k] = _best_of_each(
                np.concatenate([self._at[k], at]),
                np.concatenate([self._found[k], values]),
                width,
                worst,
            )

    def points(self, channel: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows and values of what is kept of a channel, in the order of the rows."""
        at = np.concatenate([each[:, channel] for each in self._at])
        found = np.concatenate([each[:, channel] for each in self._found])
        at, first = np.unique(at, return_index=True)
        return at, found[first]


def _best_of_each(
    at: np.ndarray, values: np.ndarray, width: int, worst: float
) -> tuple[np.ndarray, np.ndarray]:
    """Of each stretch of `width` rows the least value (`worst` inf) or the greatest (-inf).

    `at` and `values` (n, C): rows, which lie in ascending stretches, and what stands there.
    """
    stretch = at[:, 0] // width  # the same for all channels: all have a value in each stretch
    starts = np.flatnonzero(np.diff(stretch, prepend=-1))
    comparable = np.where(np.isfinite(values), values, worst)
    best = (np.minimum if worst > 0 else np.maximum).reduceat(comparable, starts)
    lengths = np.diff(np.append(starts, len(values)))
    matches = comparable == np.repeat(best, lengths, axis=0)
    place = np.where(matches, np.arange(len(values))[:, None], len(values))
    first = np.minimum.reduceat(place, starts)
    return np.take_along_axis(at, first, 0), np.take_along_axis(values, first, 0)


class _Replay:
    """The replay at one momentum, as far as it has come."""

    def __init__(self, momentum: float | None, start: tuple[np.ndarray, ...], count: int | None):
        self._momentum = momentum
        self._count = count
        self._last = start
        self._seen = 0
        self.kept = {name: Thinned(LINE_POINTS) for name in ("mean", "var")}

    def add(self, batch_means: np.ndarray, batch_vars: np.ndarray) -> None:
        """Go on with (n, C) more; after the first batch without finite statistics it is NaN."""
        broken = ~np.isfinite(np.hstack([batch_means, batch_vars])).all(axis=1)
        whole = int(broken.argmax()) if broken.any() else len(broken)
        if not np.isfinite(self._last).all():
            whole = 0
        means, variances = np.full((2, *batch_means.shape), np.nan)
        if whole:
            means[:whole], variances[:whole] = replay(
                batch_means[:whole],
                batch_vars[:whole],
                momentum=self._momentum,
                initial_mean=self._last[0],
                initial_var=self._last[1],
                count=self._count,
                seen=self._seen,
            )
        self._last = (means[-1], variances[-1])
        self._seen += len(batch_means)
        self.kept["mean"].add(means)
        self.kept["var"].add(variances)


class RunningView:
    """Batch values, the layer's own running values and replays, for a few channels of a layer.

    The batch variances are biased, as they were recorded; `unbiased` is for the replays, as in
    `bnviz.records.recorded_statistics.replay_layer`, which there are for each of `momenta`.
    """

    def __init__(
        self,
        config: RunConfig,
        history: History,
        variant: str,
        layer: str,
        channels: list[int],
        momenta: Sequence[float | None],
        *,
        unbiased: bool | None = None,
    ):
        self._table = history[steps_table(variant)]
        where = layer_slice(layer)
        self._channels = np.arange(where.start, where.stop)[channels]
        mean, var, own = starting_statistics(config, variant)
        count = (
            values_per_channel(config, layer) if (own if unbiased is None else unbiased) else None
        )
        start = tuple(np.full(len(channels), value) for value in (mean, var))
        self._replays = {momentum: _Replay(momentum, start, count) for momentum in momenta}
        self._rows = 0
        buckets = max(DOT_BUCKETS // len(channels), 1)
        self._batches = {name: Extremes(buckets, len(channels)) for name in ("mean", "var")}

    @property
    def rows(self) -> int:
        """How many steps have been read."""
        return self._rows

    def update(self) -> None:
        """Read the steps that came since the last call."""
        rows = len(self._table)
        while self._rows < rows:
            stop = min(self._rows + READ_AT_ONCE, rows)
            means, variances = (self._read(f"batch_{n}", self._rows, stop) for n in ("mean", "var"))
            for replayed in self._replays.values():
                replayed.add(means, variances)
            self._batches["mean"].add(means)
            self._batches["var"].add(variances)
            self._rows = stop

    def _read(self, column: str, start: int, stop: int, step: int = 1) -> np.ndarray:
        return self._table.column(column, start=start, stop=stop, step=step)[:, self._channels]

    def replays(self, momentum: float | None) -> list[dict[str, np.ndarray]]:
        """For each channel ``step``, ``replay_mean`` and ``replay_var`` (points,) at one of `momenta`."""
        self.update()
        kept = self._replays[momentum].kept
        steps = self._table.column("step", stop=self._rows)[kept["mean"].rows()]
        values = {f"replay_{name}": each.values() for name, each in kept.items()}
        return [
            {"step": steps} | {n: a[:, k] if a.size else np.empty(0) for n, a in values.items()}
            for k in range(len(self._channels))
        ]

    def series(self, momentum: float | None) -> list[dict[str, Any]]:
        """For each channel the arrays of a chart; empty ones before the first step.

        Those of `replays` at one of `momenta`, and ``running_mean``, ``running_var`` (points,);
        ``batch_mean`` and ``batch_var`` (dots,) at the steps ``batch_mean_step`` and
        ``batch_var_step``, with the extremes of the whole run among them; ``recent_mean`` and
        ``recent_var``, the last RECENT batches.
        """
        result: list[dict[str, Any]] = list(self.replays(momentum))
        rows = self._replays[momentum].kept["mean"].rows()
        steps = self._table.column("step", stop=self._rows)
        recent = max(self._rows - RECENT, 0)
        shared: dict[str, np.ndarray] = {}
        for name in ("mean", "var"):
            shared[f"running_{name}"] = self._running(f"running_{name}", rows)
            shared[f"recent_{name}"] = self._read(f"batch_{name}", recent, self._rows)
        for k, own in enumerate(result):
            own |= {n: a[:, k] if a.size else np.empty(0) for n, a in shared.items()}
            for name, extremes in self._batches.items():
                at, own[f"batch_{name}"] = extremes.points(k)
                own[f"batch_{name}_step"] = steps[at]
        return result

    def _running(self, column: str, rows: np.ndarray) -> np.ndarray:
        """A column at `rows`, which are evenly spaced but for the newest."""
        if not len(rows):
            return np.empty((0, 0))
        newest = self._read(column, self._rows - 1, self._rows)
        if len(rows) == 1:
            return newest
        before = self._read(column, int(rows[0]), int(rows[-1]), int(rows[0]) + 1)
        return np.concatenate([before, newest])
