"""The autograd graph behind a running statistic, a row a layer."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from bnviz.charts.marks import Figure, figure
from bnviz.charts.theme import axis, colour
from bnviz.i18n import _
from bnviz.units import KIB

LARGEST_PX = 26
SMALLEST_PX = 7
LIFT = 0.16
"""Every second node of a row stands so much higher, that lines past a node can be seen."""
NAMED_KIB = 20
"""Nodes that saved more than this are named in the figure; the others on hover."""


def graph_behind(
    nodes: pd.DataFrame, edges: pd.DataFrame, older: Sequence[int], rows: Sequence[str], root: str
) -> Figure:
    """`nodes`: number, operation, layer, bytes, saved; `edges`: node, input (numbers of nodes).

    Marks are as large as the bytes that the node was the first to save. `older` are the nodes that
    lead to the batch before, `rows` the layers from above, `root` what the last node is called.
    """
    placed = _placed(nodes, rows)
    data = [_lines(placed, edges), _marks(placed, root)]
    if len(older):
        data.append(_before(placed, older))
    layout = {
        "xaxis": axis("chain_place", showticklabels=False, zeroline=False, showgrid=False),
        "yaxis": axis(
            "chain_layer", tickmode="array", tickvals=list(range(len(rows))), ticktext=list(rows),
            autorange="reversed", zeroline=False,
        ),
    }  # fmt: skip
    return figure(data, layout)


def _placed(nodes: pd.DataFrame, rows: Sequence[str]) -> pd.DataFrame:
    """The nodes by number, with a place in their row (x) and the row of their layer (y)."""
    order = {name: number for number, name in enumerate(rows)}
    place = nodes.groupby("layer").cumcount()
    return nodes.assign(
        x=place, y=nodes["layer"].map(order).astype(float) - LIFT * (place % 2)
    ).set_index("number")  # fmt: skip


def _lines(placed: pd.DataFrame, edges: pd.DataFrame) -> dict[str, Any]:
    """All edges as one trace; None lifts the pen."""
    ends = [placed.loc[edges[end], ["x", "y"]].to_numpy(float) for end in ("node", "input")]
    gaps = np.full((len(edges), 2), np.nan)
    points = np.stack([*ends, gaps], 1).reshape(-1, 2) if len(edges) else np.empty((0, 2))
    return {
        "type": "scatter", "x": points[:, 0], "y": points[:, 1], "mode": "lines",
        "line": {"color": colour("batch", 0.7), "width": 1.2}, "hoverinfo": "skip",
        "name": _("computed from"), "connectgaps": False,
    }  # fmt: skip


def _marks(placed: pd.DataFrame, root: str) -> dict[str, Any]:
    size = placed["bytes"].to_numpy(float)
    share = np.sqrt(size / max(size.max(initial=0), NAMED_KIB * KIB))
    last = len(placed) - 1
    sizes = SMALLEST_PX + (LARGEST_PX - SMALLEST_PX) * share
    sizes[last:] = LARGEST_PX / 2
    shades = [
        colour("event") if k == last else colour("note") if value else colour("batch")
        for k, value in enumerate(size)
    ]
    text = [
        root if k == last
        else f"{value / KIB:,.0f} KiB" if value > NAMED_KIB * KIB else ""
        for k, value in enumerate(size)
    ]  # fmt: skip
    words = [
        _("{operation} in {layer}, {size:,} bytes<br>saved: {saved}").format(
            operation=row.operation, layer=row.layer, size=row.bytes,
            saved=str(row.saved).replace("; ", "<br>") or _("nothing"),
        )
        for row in placed.itertuples()
    ]  # fmt: skip
    return {
        "type": "scatter", "x": placed["x"].to_numpy(float), "y": placed["y"].to_numpy(float),
        "mode": "markers+text", "text": text,
        "textposition": [_beside(place) for place in placed["x"]],
        "marker": {"size": sizes, "color": shades,
                   "symbol": ["diamond" if k == last else "circle" for k in range(len(placed))]},
        "customdata": words, "hovertemplate": "%{customdata}<extra></extra>",
        "name": _("node, as large as what it saved"),
    }  # fmt: skip


def _beside(place: int) -> str:
    """Where a node's words stand: the first of a row has lines above and below."""
    if place == 0:
        return "bottom right"
    return "top center" if place % 2 else "bottom center"


def _before(placed: pd.DataFrame, older: Sequence[int]) -> dict[str, Any]:
    """Where the chain goes on: the same statistic after the batch before."""
    at = placed.loc[[number for number in older if number in placed.index]]
    x, gap = at["x"].to_numpy(float), np.full(len(at), np.nan)
    return {
        "type": "scatter", "x": np.stack([x, x - 0.55, gap], 1).ravel(), "connectgaps": False,
        "y": np.repeat(at["y"].to_numpy(float), 3), "line": {"color": colour("wrong"), "width": 1.2},
        "mode": "lines+markers", "marker": {"size": [0, 13, 0] * len(at), "symbol": "triangle-left",
                                            "color": colour("wrong"), "opacity": 1},
        "name": _("to the batch before"), "hovertemplate": _("the same statistic, one batch earlier") + "<extra></extra>",
    }  # fmt: skip
