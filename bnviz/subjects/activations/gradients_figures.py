"""Gradients: what enters and leaves a BN layer, how fast weights move, what reaches which depth."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bnviz.charts.marks import Figure, event_marks, figure, grid, scatter, stacked, step_mark
from bnviz.charts.theme import DASH, SIDE_LABELS, axis, colour, hover
from bnviz.i18n import _

BINS_A_DECADE = 6
# Sizes are read as powers of ten: plotly would write n and µ.
LOG = {"type": "log", "exponentformat": "power"}


def size_edges(low: int, high: int) -> np.ndarray:
    """Edges of equally wide bins on a log axis from 10**low to 10**high, shared by all variants."""
    return np.logspace(low, high, (high - low) * BINS_A_DECADE + 1)


def gradient_histograms(
    shares: Mapping[str, Mapping[str, np.ndarray]],
    edges: np.ndarray,
    labels: Mapping[str, str],
) -> Figure:
    """Sizes of the gradient that comes into a BN layer and of what it passes down, on shared bins.

    `shares`: per side and variant the share of all values (0 to 1) in each bin; values of exactly
    0 are in none. `edges` (bins + 1,), positive.
    """
    middle = np.sqrt(edges[1:] * edges[:-1])
    data = [
        scatter(
            k,
            middle,
            100 * share,
            mode="lines",
            line={**_line(variant), "shape": "hvh"},
            fill="tozeroy",
            fillcolor=colour(variant, 0.12),
            name=labels[variant],
            legendgroup=variant,
            showlegend=k == 0,
            hovertemplate=hover("gradient", "density"),
        )
        for k, of_variant in enumerate(shares.values())
        for variant, share in of_variant.items()
    ]
    ends = [float(np.log10(edges[0])), float(np.log10(edges[-1]))]
    # The standoff keeps the first power of ten off the 0 of the other axis.
    x = {**LOG, "range": ends, "ticklabelstandoff": 6}
    xs = [x, axis("gradient", **x)]
    ys = [axis("density", rangemode="tozero") for _side in shares]
    titles = [_(SIDE_LABELS[side]) for side in shares]
    return figure(data, grid(xs, ys, titles, 1), legend_y=1.1)


def gradient_norms(
    curves: Mapping[str, pd.DataFrame],
    labels: Mapping[str, str],
    events: Sequence[Mapping[str, Any]],
    chosen: int | None,
) -> Figure:
    """Norm of a weight's gradient above, update over weight below, over the steps, all variants.

    `curves`: per variant the columns step, grad_norm, update_ratio. `chosen` is a step to mark.
    """
    data = [
        scatter(
            panel,
            frame["step"],
            _positive(frame[quantity]),
            mode="lines",
            line=_line(variant),
            name=labels[variant],
            legendgroup=variant,
            showlegend=panel == 0,
            hovertemplate=hover("step", quantity),
        )
        for panel, quantity in enumerate(("grad_norm", "update_ratio"))
        for variant, frame in curves.items()
    ]
    layout = {
        **stacked(
            [
                axis(q, **_log(frame[q] for frame in curves.values()))
                for q in ("grad_norm", "update_ratio")
            ],
            axis("step", rangemode="tozero"),
        ),
        **event_marks(events),
    }
    layout["shapes"] += step_mark(0, chosen)
    return figure(data, layout)


def norms_by_layer(norms: Mapping[str, pd.DataFrame], labels: Mapping[str, str]) -> Figure:
    """Norm of the weight's gradient in each layer at one step, from the images to the logits.

    `norms`: per variant the columns layer, grad_norm.
    """
    data = [
        {
            "type": "scatter",
            "x": frame["layer"].tolist(),
            "y": _positive(frame["grad_norm"]).to_numpy(np.float32),
            "mode": "lines+markers",
            "line": _line(variant),
            "marker": {"size": 8, "color": colour(variant)},
            "name": labels[variant],
            "hovertemplate": hover("weight_layer", "grad_norm"),
        }
        for variant, frame in norms.items()
    ]
    xaxis = axis("weight_layer", type="category")
    return figure(
        data,
        {
            "xaxis": xaxis,
            "yaxis": axis("grad_norm", **_log(frame["grad_norm"] for frame in norms.values())),
        },
    )


def _log(series: Iterable[pd.Series]) -> dict[str, Any]:
    """A log axis with a tick a decade, or finer where all values lie within two of them."""
    values = [value for each in series for value in _positive(each).dropna()]
    wide = bool(values) and max(values) > 100 * min(values)
    return {**LOG, "dtick": 1 if wide else "D2"}


def _line(variant: str) -> dict[str, Any]:
    return {"color": colour(variant), "dash": DASH[variant], "width": 2}


def _positive(values: pd.Series) -> pd.Series:
    """What a log axis can show; the rest is a gap."""
    return values.where(values > 0)
