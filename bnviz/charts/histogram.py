"""Activations before and after BN: the four stages of a layer on shared bins."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bnviz.charts.marks import Figure, curve, drawing, grid, one_entry
from bnviz.charts.theme import STAGE_LABELS, axis, colour, own_stroke, stroke
from bnviz.i18n import _

BINS = 48
_COLUMNS = 2


def bin_edges(low: float, high: float) -> np.ndarray:
    """Edges of BINS equal bins from `low` to `high`; every variant and step uses the same."""
    if low == high:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, BINS + 1)


def middles(edges: np.ndarray) -> np.ndarray:
    """The middle of each bin, one less than there are `edges`."""
    return (edges[1:] + edges[:-1]) / 2


def ends(edges: np.ndarray) -> list[float]:
    """From the first of the `edges` to the last, as the range of an axis."""
    return [float(edges[0]), float(edges[-1])]


def outline(panel: int, edges: np.ndarray, share: np.ndarray, **style: Any) -> dict[str, Any]:
    """A histogram as a stepped line in a panel: `share` of values (0 to 1) between `edges`."""
    line = {"shape": "hvh", **style.pop("line")}
    return curve(panel, middles(edges), 100 * share, ("value", "density"), line, **style)


def four_stages(
    densities: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]],
    labels: Mapping[str, str],
    followed: tuple[str, Mapping[str, tuple[np.ndarray, np.ndarray]]] | None = None,
) -> Figure:
    """One panel a stage, all variants on the same bins.

    `densities`: per stage and variant the bin edges (BINS + 1) and the share of values in each
    bin (0 to 1). `followed`: the name of a channel and the same for each stage of it.
    """
    data, xs, ys = [], [], []
    for k, (stage, of_variant) in enumerate(densities.items()):
        data += _of_variants(k, of_variant, labels)
        if followed is not None and stage in followed[1]:
            entry = one_entry(followed[0], "followed", shown=k == 0)
            data.append(outline(k, *followed[1][stage], line=stroke("event", width=2.2), **entry))
        edges = next((e for e, _share in of_variant.values()), np.array([0.0, 1.0]))
        bottom = k >= len(densities) - _COLUMNS
        xs.append({**(axis("value") if bottom else {}), "range": ends(edges), "zeroline": True})
        ys.append({**(axis("density") if k % _COLUMNS == 0 else {}), "rangemode": "tozero"})
    titles = [_(STAGE_LABELS[stage]) for stage in densities]
    return drawing(data, grid(xs, ys, titles, _COLUMNS), legend_y=1.1)


def _of_variants(
    panel: int, of_variant: Mapping[str, tuple[np.ndarray, np.ndarray]], labels: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The histograms of one stage; the area below it is filled where there is one alone."""
    return [
        outline(
            panel,
            *histogram,
            line=own_stroke(variant, 1.8),
            fill="tozeroy" if len(of_variant) == 1 else "none",
            fillcolor=colour(variant, 0.15),
            **one_entry(labels[variant], variant, shown=panel == 0),
        )
        for variant, histogram in of_variant.items()
    ]
