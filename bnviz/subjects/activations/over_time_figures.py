"""Activations over the steps: heatmaps with quantile bands, and how far distributions move."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bnviz.charts.marks import (
    Figure,
    domains,
    drawing,
    event_marks,
    heading,
    scatter,
    stacked,
    step_mark,
    suffix,
)
from bnviz.charts.theme import DASH, axis, colour, hover
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
    layout = _side_by_side(list(stages), edges, labels, chosen)
    middle = (edges[1:] + edges[:-1]) / 2
    for k, (variant, (steps, shares, quantiles)) in enumerate(stages.items()):
        data.append(
            {
                "type": "heatmap",
                "x": steps.astype(np.int32),
                "y": middle.astype(np.float32),
                "z": (100 * shares.T).astype(np.float32),
                "xaxis": f"x{suffix(k)}",
                "yaxis": f"y{suffix(k)}",
                # As the square root, which lets thin tails be seen beside the peak.
                "colorscale": [[t * t, colour(variant, 0.85 * t)] for t in (0, 0.25, 0.5, 0.75, 1)],
                "showscale": False,
                "hoverinfo": "skip",
                "name": labels[variant],
            }
        )
        data += _quantile_lines(k, steps, quantiles)
        if followed and variant in followed:
            data += followed_channel(k, followed[variant], legend=False)
    return drawing(data, layout)


def _side_by_side(
    variants: Sequence[str], edges: np.ndarray, labels: Mapping[str, str], chosen: int | None
) -> dict[str, Any]:
    """Layout of panels over the steps that share their value axis, the variants named above."""
    margin = {"l": 48, "r": 10, "t": 26, "b": 40}  # room for the names above the panels
    layout: dict[str, Any] = {"annotations": [], "shapes": [], "margin": margin}
    for k, variant in enumerate(variants):
        across = domains(len(variants), 0.05)[k]
        layout[f"xaxis{suffix(k)}"] = {
            **axis("step"), "domain": across, "anchor": f"y{suffix(k)}", "nticks": 4, "tickangle": 0
        }  # fmt: skip
        layout[f"yaxis{suffix(k)}"] = {
            **(axis("value") if k == 0 else {"showticklabels": False}),
            "range": [float(edges[0]), float(edges[-1])],
            "anchor": f"x{suffix(k)}",
            **({} if k == 0 else {"matches": "y"}),
        }
        layout["annotations"].append(heading(labels[variant], across[0], 1))
        layout["shapes"] += step_mark(k, chosen)
    return layout


def _quantile_lines(panel: int, steps: np.ndarray, quantiles: np.ndarray) -> list[dict[str, Any]]:
    return [
        scatter(
            panel,
            steps,
            quantiles[:, j],
            mode="lines",
            line={"color": colour("truth", 0.8), "width": width, "dash": dash},
            name=_("{level:.0%} of the values are below").format(level=level),
            legendgroup=str(level),
            showlegend=False,
            hovertemplate=hover("step", "value"),
        )
        for j, (level, (width, dash)) in enumerate(BANDS.items())
    ]


def followed_channel(panel: int, follow: Follow, *, legend: bool) -> list[dict[str, Any]]:
    """The mean of one channel over the steps, and a standard deviation to both sides of it."""
    return [
        scatter(
            panel,
            follow["step"],
            follow["mean"] + sign * follow["std"],
            mode="lines+markers" if len(follow["step"]) < 12 else "lines",
            line={"color": colour("event"), "width": width, "dash": dash},
            marker={"size": 5},
            name=name,
            legendgroup="followed",
            showlegend=legend and sign == 0,
            hovertemplate=hover("step", "value"),
        )
        for sign, width, dash, name in (
            (-1, 1.2, "dot", _("one standard deviation below")),
            (0, 2.4, "solid", _("the chosen channel")),
            (1, 1.2, "dot", _("one standard deviation above")),
        )
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
    places = {level: k for k, level in enumerate(BANDS)}
    data: list[dict[str, Any]] = []
    for variant, (steps, _shares, quantiles) in stages.items():
        for low, high, opacity in ((0.05, 0.95, 0.12), (0.25, 0.75, 0.22)):
            around = np.concatenate([quantiles[:, places[low]], quantiles[::-1, places[high]]])
            data.append(
                scatter(
                    0,
                    np.concatenate([steps, steps[::-1]]),
                    around,
                    mode="lines",
                    fill="toself",
                    fillcolor=colour(variant, opacity),
                    line={"color": colour(variant, 0.5), "width": 0.8, "dash": DASH[variant]},
                    name=_("{label}: {share:.0%} of the values").format(
                        label=labels[variant], share=high - low
                    ),
                    legendgroup=variant,
                    showlegend=False,
                    hoverinfo="skip",
                )
            )
        data.append(
            scatter(
                0,
                steps,
                quantiles[:, places[0.5]],
                mode="lines",
                line={"color": colour(variant), "width": 2.4, "dash": DASH[variant]},
                name=labels[variant],
                legendgroup=variant,
                hovertemplate=hover("step", "value"),
            )
        )
    for follow in (followed or {}).values():
        data += followed_channel(0, follow, legend=True)
    return drawing(
        data,
        {
            "xaxis": axis("step"),
            "yaxis": axis("value", range=[float(edges[0]), float(edges[-1])]),
            "shapes": step_mark(0, chosen),
        },
    )


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
    middle = (edges[1:] + edges[:-1]) / 2
    top = max((float(shares.max()) for _s, shares, _q in stages.values()), default=0.0) or 1.0
    layout: dict[str, Any] = {
        "annotations": [],
        "margin": {"l": 48, "r": 10, "t": 26, "b": 40},
    }
    data: list[dict[str, Any]] = []
    for k, (variant, (steps, shares, _quantiles)) in enumerate(stages.items()):
        across = domains(len(stages), 0.05)[k]
        rows = _ridge_rows(steps, chosen)
        for place, row in enumerate(rows):  # from the back, so that the newer hide the older
            level = len(rows) - 1 - place
            marked = steps[row] == chosen
            height = level + RIDGE_HEIGHT * np.concatenate([[0], shares[row], [0]]) / top
            data.append(
                scatter(
                    k,
                    np.concatenate([middle[:1], middle, middle[-1:]]),
                    height,
                    mode="lines",
                    fill="toself",
                    fillcolor=colour("event" if marked else variant, 0.35),
                    line={"color": colour("event" if marked else variant), "width": 1.6},
                    name=_("step {step:,}").format(step=int(steps[row])),
                    showlegend=False,
                    hoverinfo="skip",
                )
            )
        layout[f"xaxis{suffix(k)}"] = {
            **axis("value"),
            "domain": across,
            "anchor": f"y{suffix(k)}",
            "range": [float(edges[0]), float(edges[-1])],
        }
        layout[f"yaxis{suffix(k)}"] = {
            **(axis("step") if k == 0 else {}),
            "anchor": f"x{suffix(k)}",
            "tickvals": list(range(len(rows))),
            "ticktext": [f"{int(steps[row]):,}" for row in rows[::-1]],
            "showticklabels": k == 0,
            "range": [-0.2, len(rows) - 1 + RIDGE_HEIGHT + 0.1],
        }
        layout["annotations"].append(heading(labels[variant], across[0], 1))
    return drawing(data, layout)


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
    data = [
        scatter(
            panel,
            frame["step"],
            frame[quantity],
            mode="lines",
            line={"color": colour(variant), "dash": DASH[variant], "width": 2},
            name=labels[variant],
            legendgroup=variant,
            showlegend=panel == 0,
            hovertemplate=hover("step", quantity),
        )
        for panel, quantity in enumerate(("moved", "to_last"))
        for variant, frame in drifts.items()
    ]
    layout = stacked(
        [axis("moved", rangemode="tozero"), axis("to_last", rangemode="tozero")],
        axis("step", rangemode="tozero"),
    )
    return drawing(data, {**layout, **event_marks(events)})
