"""Momentum x batch size: maps of accuracy and of the running mean's error."""

from typing import Any

import numpy as np
import pandas as pd

from bnviz.charts.marks import Figure, figure, grid, suffix
from bnviz.charts.theme import QUANTITIES, axis, colour
from bnviz.i18n import _


def accuracy_map(frame: pd.DataFrame, variant: str) -> Figure:
    """Accuracy of each batch size with each momentum, the best of each batch size marked.

    `frame`: what `bnviz.subjects.running_stats.momentum_map.momentum_map` returns, maybe of some batch sizes only.
    """
    table = _table(frame, "accuracy")
    best = [str(table.columns[k]) for k in table.to_numpy().argmax(axis=1)] if len(table) else []
    best = [f"{float(m):g}" for m in best]
    marks = {
        "type": "scatter",
        "x": best,
        "y": [str(b) for b in table.index],
        "mode": "markers",
        "marker": {
            "symbol": "square-open",
            "size": 34,
            "color": colour("truth"),
            "line": {"width": 2},
        },
        "name": _("best of its batch size"),
        "hoverinfo": "skip",
        "showlegend": True,
    }
    layout = {"xaxis": _categories("momentum_tried"), "yaxis": _categories("batch_size")}
    heat = _heatmap(0, 100 * table, "accuracy", variant, None)
    return figure([heat, marks], layout)


def error_maps(frame: pd.DataFrame) -> Figure:
    """Error of the running mean at the end, and below it the part that is chance, on one scale.

    `frame`: what `bnviz.subjects.running_stats.momentum_map.momentum_map` returns, maybe of some batch sizes only.
    """
    tables = {name: _table(frame, name) for name in ("mean_error", "noise")}
    largest = float(np.nanmax([table.to_numpy().max(initial=0) for table in tables.values()]))
    data = [
        _heatmap(k, table, name, "wrong", largest) for k, (name, table) in enumerate(tables.items())
    ]
    x, y = _categories("momentum_tried"), _categories("batch_size")
    titles = [QUANTITIES[name].axis() for name in tables]
    layout = grid([x, {**x, "matches": "x"}], [y, y], titles, 1)
    return figure(data, {**layout, "margin": {"l": 48, "r": 10, "t": 26, "b": 40}})


def _categories(quantity: str) -> dict[str, Any]:
    return axis(quantity, type="category", showgrid=False)


def _table(frame: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """One row a batch size, one column a momentum, both ascending."""
    return frame.astype({quantity: float}).pivot(
        index="batch_size", columns="momentum", values=quantity
    )


def _heatmap(
    panel: int, table: pd.DataFrame, quantity: str, shade: str, largest: float | None
) -> dict[str, Any]:
    """Cells with their numbers in them; from the lowest to the highest, or from 0 to `largest`."""
    what, shown = QUANTITIES[quantity], ".1f" if quantity == "accuracy" else ".2f"
    scale = {} if largest is None else {"zmin": 0.0, "zmax": largest}
    return {
        "type": "heatmap",
        "x": [f"{m:g}" for m in table.columns],
        "y": [str(b) for b in table.index],
        "z": table.to_numpy(np.float32),
        "xaxis": f"x{suffix(panel)}",
        "yaxis": f"y{suffix(panel)}",
        "colorscale": [[0, colour(shade, 0.04)], [1, colour(shade, 0.65)]],
        "showscale": False,
        "xgap": 2,
        "ygap": 2,
        "texttemplate": f"%{{z:{shown}}}",
        "textfont": {"color": colour("truth"), "size": 12},
        "name": _(what.label),
        "hovertemplate": f"{_('batch size')} %{{y}}<br>{_('momentum')} %{{x}}<br>"
        f"{_(what.label)} %{{z:{what.format}}}{what.after()}<extra></extra>",
        **scale,
    }
