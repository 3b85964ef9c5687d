"""The figure of Home: a layer's input before BN and after normalizing, at one step."""

import numpy as np
import plotly.graph_objects as go

from bnviz.figures.panels import figure, grid, suffix
from bnviz.figures.theme import axis, colour, hover
from bnviz.i18n import _


def before_after(
    before: tuple[np.ndarray, np.ndarray, np.ndarray],
    after: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> go.Figure:
    """Two panels; each takes bin edges, shares (0 to 1) at the first probe, and at the chosen one."""
    data, xs, ys = [], [], []
    for k, (edges, first, now) in enumerate((before, after)):
        x = ((edges[1:] + edges[:-1]) / 2).astype(np.float32)
        place = {"xaxis": f"x{suffix(k)}", "yaxis": f"y{suffix(k)}"}
        for share, name, line, fill in (
            (
                first,
                _("first probe"),
                {"color": colour("batch"), "dash": "dot", "width": 1.5},
                None,
            ),
            (
                now,
                _("chosen step"),
                {"color": colour("builtin"), "width": 2},
                colour("builtin", 0.2),
            ),
        ):
            data.append(
                {
                    "type": "scatter",
                    "x": x,
                    "y": (100 * share).astype(np.float32),
                    "mode": "lines",
                    "line": {**line, "shape": "hvh"},
                    "fill": "tozeroy" if fill else "none",
                    "fillcolor": fill,
                    "name": name,
                    "legendgroup": name,
                    "showlegend": k == 0,
                    "hovertemplate": hover("value", "density"),
                    **place,
                }
            )
        xs.append(axis("value", range=[float(edges[0]), float(edges[-1])]))
        ys.append({**(axis("density") if k == 0 else {}), "rangemode": "tozero"})
    return figure(data, grid(xs, ys, [_("before BN"), _("after normalizing")], 2), legend_y=1.12)
