"""Activations before and after BN: the four stages of a layer on shared bins."""

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from bnviz.figures.panels import figure, grid, suffix
from bnviz.figures.theme import DASH, STAGE_LABELS, axis, colour, hover
from bnviz.i18n import _

BINS = 48


def bin_edges(low: float, high: float) -> np.ndarray:
    """Edges of BINS equal bins from `low` to `high`; every variant and step uses the same."""
    if low == high:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, BINS + 1)


def four_stages(
    densities: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]],
    labels: Mapping[str, str],
    *,
    columns: int = 2,
) -> go.Figure:
    """One panel a stage, all variants on the same bins.

    `densities`: per stage and variant the bin edges (BINS + 1) and the share of values in each
    bin (0 to 1).
    """
    data, xs, ys, titles = [], [], [], []
    shown: set[str] = set()
    for k, (stage, of_variant) in enumerate(densities.items()):
        edges = next((e for e, _share in of_variant.values()), np.array([0.0, 1.0]))
        for variant, (_edges, share) in of_variant.items():
            data.append(
                {
                    "type": "scatter",
                    "x": ((edges[1:] + edges[:-1]) / 2).astype(np.float32),
                    "y": (100 * share).astype(np.float32),
                    "xaxis": f"x{suffix(k)}",
                    "yaxis": f"y{suffix(k)}",
                    "mode": "lines",
                    "line": {
                        "shape": "hvh",
                        "color": colour(variant),
                        "dash": DASH[variant],
                        "width": 1.8,
                    },
                    "fill": "tozeroy" if len(of_variant) == 1 else "none",
                    "fillcolor": colour(variant, 0.15),
                    "name": labels[variant],
                    "legendgroup": variant,
                    "showlegend": variant not in shown,
                    "hovertemplate": hover("value", "density"),
                }
            )
            shown.add(variant)
        bottom = k >= len(densities) - columns
        x = axis("value") if bottom else {}
        xs.append({**x, "range": [float(edges[0]), float(edges[-1])], "zeroline": True})
        ys.append({**(axis("density") if k % columns == 0 else {}), "rangemode": "tozero"})
        titles.append(_(STAGE_LABELS[stage]))
    return figure(data, grid(xs, ys, titles, columns), legend_y=1.1)
