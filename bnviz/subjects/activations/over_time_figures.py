"""Activations over the steps: heatmaps with quantile bands, and how far distributions move."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bnviz.charts.histogram import ends, middles
from bnviz.charts.marks import (
    HEADED_MARGIN,
    Figure,
    curve,
    curves_over_steps,
    domains,
    drawing,
    event_marks,
    heading,
    in_panel,
    one_entry,
    scatter,
    stacked,
    step_mark,
    suffix,
)
from bnviz.charts.theme import DASH, axis, colour, from_zero, own_stroke, stroke
from bnviz.i18n import _

# Level of a line (0 to 1): its width and dash. The legend names them once.
BANDS = {
    0.01: (0.8, "dot"),
    0.05: (1.0, "dash"),
    0.25: (1.2, "solid"),
    0.5: (2.4, "solid"),
    0.75: (1.2, "solid"),
    0.95: (1.0, "dash"),
    0.99: (0.8, "dot"),
}
Side = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Steps (probes,), shares (0 to 1) of shape (probes, bins), quantiles at BANDS (probes, 7)."""
Follow = Mapping[str, np.ndarray]
"""One channel over the steps: ``step``, ``mean`` and ``std``, all of shape (points,)."""


def heatmaps_over_steps(
    stages: Mapping[str, Side],
    edges: np.ndarray,
    labels: Mapping[str, str],
    chosen: int | None,
    followed: Mapping[str, Follow] | None = None,
) -> Figure:
    """One panel a variant: shares of the values by step, with quantiles as lines, one shared axis.

    `edges` (bins + 1,); `chosen` is a step to mark; `followed` is a channel of some variants, drawn
    as its mean and one standard deviation to both sides.
    """
    data: list[dict[str, Any]] = []
    for k, (variant, (steps, shares, quantiles)) in enumerate(stages.items()):
        data.append(_heatmap(k, steps, shares, edges, variant, labels[variant]))
        data += _quantile_lines(k, steps, quantiles)
        if followed and variant in followed:
            data += followed_channel(k, followed[variant], legend=False)
    layout = _side_by_side(list(stages), labels)
    for k in range(len(stages)):
        layout[f"xaxis{suffix(k)}"] |= {**axis("step"), "nticks": 4, "tickangle": 0}
        y = axis("value") if k == 0 else {"showticklabels": False, "matches": "y"}
        layout[f"yaxis{suffix(k)}"] |= {**y, "range": ends(edges)}
        layout["shapes"] += step_mark(k, chosen)
    return drawing(data, layout)


def _heatmap(
    panel: int, steps: np.ndarray, shares: np.ndarray, edges: np.ndarray, variant: str, name: str
) -> dict[str, Any]:
    """Colour grows as the square root of the share: thin tails are seen beside the peak."""
    return {
        "type": "heatmap",
        "x": steps.astype(np.int32),
        "y": middles(edges).astype(np.float32),
        "z": (100 * shares.T).astype(np.float32),
        **in_panel(panel),
        "colorscale": [[t * t, colour(variant, 0.85 * t)] for t in (0, 0.25, 0.5, 0.75, 1)],
        "showscale": False,
        "hoverinfo": "skip",
        "name": name,
    }


def _side_by_side(variants: Sequence[str], labels: Mapping[str, str]) -> dict[str, Any]:
    """Layout of panels beside each other, each with the name of its variant above it."""
    layout: dict[str, Any] = {"annotations": [], "shapes": [], "margin": HEADED_MARGIN}
    across = domains(len(variants), 0.05)
    for k, (variant, domain) in enumerate(zip(variants, across, strict=True)):
        layout[f"xaxis{suffix(k)}"] = {"domain": domain, "anchor": f"y{suffix(k)}"}
        layout[f"yaxis{suffix(k)}"] = {"anchor": f"x{suffix(k)}"}
        layout["annotations"].append(heading(labels[variant], domain[0], 1))
    return layout


def _quantile_lines(panel: int, steps: np.ndarray, quantiles: np.ndarray) -> list[dict[str, Any]]:
    said = _("{level:.0%} of the values are below")
    return [
        curve(
            panel,
            steps,
            quantiles[:, j],
            ("step", "value"),
            stroke("truth", dash, width, 0.8),
            **one_entry(said.format(level=level), str(level), shown=False),
        )
        for j, (level, (width, dash)) in enumerate(BANDS.items())
    ]


def followed_channel(panel: int, follow: Follow, *, legend: bool) -> list[dict[str, Any]]:
    """The mean of one channel over the steps, and a standard deviation to both sides of it."""
    lines = (
        (-1, stroke("event", "dot", 1.2), _("one standard deviation below")),
        (0, stroke("event", "solid", 2.4), _("the chosen channel")),
        (1, stroke("event", "dot", 1.2), _("one standard deviation above")),
    )
    few = len(follow["step"]) < 12
    return [
        curve(
            panel,
            follow["step"],
            follow["mean"] + sign * follow["std"],
            ("step", "value"),
            line,
            mode="lines+markers" if few else "lines",
            marker={"size": 5},
            **one_entry(name, "followed", shown=legend and sign == 0),
        )
        for sign, line, name in lines
    ]


def bands_over_steps(
    stages: Mapping[str, Side],
    edges: np.ndarray,
    labels: Mapping[str, str],
    chosen: int | None,
    followed: Mapping[str, Follow] | None = None,
) -> Figure:
    """All variants laid over each other: median, and bands that hold 50 and 90 % of the values.

    Arguments as in `heatmaps_over_steps`.
    """
    data: list[dict[str, Any]] = []
    for variant, (steps, _shares, quantiles) in stages.items():
        of_level = dict(zip(BANDS, quantiles.T, strict=True))
        for low, high, opacity in ((0.05, 0.95, 0.12), (0.25, 0.75, 0.22)):
            name = _("{label}: {share:.0%} of the values").format(
                label=labels[variant], share=high - low
            )
            data.append(_band(steps, of_level[low], of_level[high], opacity, variant, name))
        line, entry = own_stroke(variant, 2.4), {"name": labels[variant], "legendgroup": variant}
        data.append(curve(0, steps, of_level[0.5], ("step", "value"), line, **entry))
    for follow in (followed or {}).values():
        data += followed_channel(0, follow, legend=True)
    scales = {"xaxis": axis("step"), "yaxis": axis("value", range=ends(edges))}
    return drawing(data, {**scales, "shapes": step_mark(0, chosen)})


def _band(
    steps: np.ndarray, low: np.ndarray, high: np.ndarray, opacity: float, variant: str, name: str
) -> dict[str, Any]:
    """The area between two lines, as a shape that goes along the lower and back on the upper."""
    around = (np.concatenate([steps, steps[::-1]]), np.concatenate([low, high[::-1]]))
    line = stroke(variant, DASH[variant], 0.8, 0.5)
    return _area(0, *around, line, colour(variant, opacity), name, legendgroup=variant)


def _area(
    panel: int,
    x: np.ndarray,
    y: np.ndarray,
    line: dict[str, Any],
    fill: str,
    name: str,
    **style: Any,
) -> dict[str, Any]:
    """A filled shape without a hover and without an entry in the legend."""
    looks = {"mode": "lines", "line": line, "fill": "toself", "fillcolor": fill}
    silent = {"name": name, "showlegend": False, "hoverinfo": "skip"}
    return scatter(panel, x, y, **looks, **silent, **style)


RIDGES = 8
RIDGE_HEIGHT = 1.8
"""Of the highest ridge, in distances between two ridges."""


def ridges_over_steps(
    stages: Mapping[str, Side],
    edges: np.ndarray,
    labels: Mapping[str, str],
    chosen: int | None,
) -> Figure:
    """One panel a variant: the distributions at some probes behind each other, the newest in front.

    Arguments as in `heatmaps_over_steps`; the probe at `chosen` is one of them and is marked.
    """
    top = max((float(shares.max()) for _s, shares, _q in stages.values()), default=0.0) or 1.0
    data: list[dict[str, Any]] = []
    layout = _side_by_side(list(stages), labels)
    for k, (variant, (steps, shares, _quantiles)) in enumerate(stages.items()):
        rows = _ridge_rows(steps, chosen)
        data += _ridges(k, steps[rows], shares[rows] / top, edges, variant, chosen)
        layout[f"xaxis{suffix(k)}"] |= axis("value", range=ends(edges))
        layout[f"yaxis{suffix(k)}"] |= {
            **(axis("step") if k == 0 else {}),
            "tickvals": list(range(len(rows))),
            "ticktext": [f"{int(steps[row]):,}" for row in rows[::-1]],
            "showticklabels": k == 0,
            "range": [-0.2, len(rows) - 1 + RIDGE_HEIGHT + 0.1],
        }
    return drawing(data, layout)


def _ridges(
    panel: int,
    steps: np.ndarray,
    heights: np.ndarray,
    edges: np.ndarray,
    variant: str,
    chosen: int | None,
) -> Iterator[dict[str, Any]]:
    """The ridges of a panel from the back, so that the newer hide the older; heights 0 to 1."""
    middle = middles(edges)
    across = np.concatenate([middle[:1], middle, middle[-1:]])
    for k, (step, height) in enumerate(zip(steps, heights, strict=True)):
        shade = "event" if step == chosen else variant
        up = len(steps) - 1 - k + RIDGE_HEIGHT * np.concatenate([[0], height, [0]])
        name = _("step {step:,}").format(step=int(step))
        yield _area(panel, across, up, stroke(shade, width=1.6), colour(shade, 0.35), name)


def _ridge_rows(steps: np.ndarray, chosen: int | None) -> list[int]:
    """Places of RIDGES probes, evenly spread, the one at `chosen` among them; oldest first."""
    rows = set(np.linspace(0, len(steps) - 1, min(RIDGES, len(steps))).round().astype(int).tolist())
    for asked in np.flatnonzero(steps == chosen).tolist():
        nearest = min(rows, key=lambda row: abs(row - asked))
        rows = (rows - {nearest}) | {asked}
    return sorted(rows)


def drift_over_steps(
    drifts: Mapping[str, pd.DataFrame],
    labels: Mapping[str, str],
    events: Sequence[Mapping[str, Any]],
) -> Figure:
    """How far a layer's inputs moved since the probe before, and how far they are from the last.

    `drifts`: per variant what `bnviz.subjects.activations.distribution_shift.drift` returns.
    """
    data = curves_over_steps(drifts, ("moved", "to_last"), labels)
    layout = stacked([from_zero("moved"), from_zero("to_last")], from_zero("step"))
    return drawing(data, {**layout, **event_marks(events)})
