"""Activations before and after BN: the four stages of a layer on shared bins."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bnviz.charts.marks import Figure, drawing, grid, scatter
from bnviz.charts.theme import DASH, STAGE_LABELS, axis, colour, hover
from bnviz.i18n import _

BINS = 48


def bin_edges(low: float, high: float) -> np.ndarray:
    """Edges of BINS equal bins from `low` to `high`; every variant and step uses the same."""
    if low == high:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, BINS + 1)


def outline(panel: int, edges: np.ndarray, share: np.ndarray, **style: Any) -> dict[str, Any]:
    """A histogram as a stepped line in a panel: `share` of values (0 to 1) between `edges`."""
    style["line"] = {"shape": "hvh", **style["line"]}
    middle = (edges[1:] + edges[:-1]) / 2
    return scatter(
        panel, middle, 100 * share, mode="lines", hovertemplate=hover("value", "density"), **style
    )


def four_stages(
    densities: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]],
    labels: Mapping[str, str],
    followed: tuple[str, Mapping[str, tuple[np.ndarray, np.ndarray]]] | None = None,
) -> Figure:
    """One panel a stage, all variants on the same bins.

    `densities`: per stage and variant the bin edges (BINS + 1) and the share of values in each
    bin (0 to 1). `followed`: the name of a channel and the same for each stage of it.
    """
    columns = 2
    data, xs, ys, titles = [], [], [], []
    for k, (stage, of_variant) in enumerate(densities.items()):
        edges = next((e for e, _share in of_variant.values()), np.array([0.0, 1.0]))
        data += [
            outline(
                k,
                edges,
                share,
                line={"color": colour(variant), "dash": DASH[variant], "width": 1.8},
                fill="tozeroy" if len(of_variant) == 1 else "none",
                fillcolor=colour(variant, 0.15),
                name=labels[variant],
                legendgroup=variant,
                showlegend=k == 0,
            )
            for variant, (_edges, share) in of_variant.items()
        ]
        if followed is not None and stage in followed[1]:
            data.append(
                outline(
                    k,
                    *followed[1][stage],
                    line={"color": colour("event"), "width": 2.2},
                    name=followed[0],
                    legendgroup="followed",
                    showlegend=k == 0,
                )
            )
        bottom = k >= len(densities) - columns
        xs.append(
            {
                **(axis("value") if bottom else {}),
                "range": [float(edges[0]), float(edges[-1])],
                "zeroline": True,
            }
        )
        ys.append({**(axis("density") if k % columns == 0 else {}), "rangemode": "tozero"})
        titles.append(_(STAGE_LABELS[stage]))
    return drawing(data, grid(xs, ys, titles, columns), legend_y=1.1)
