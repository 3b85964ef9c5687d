"""The figure of Home: a layer's input before BN and after normalizing, at one step."""

import numpy as np

from bnviz.charts.histogram import outline
from bnviz.charts.marks import Figure, figure, grid
from bnviz.charts.theme import axis, colour
from bnviz.i18n import _

Side = tuple[np.ndarray, np.ndarray, np.ndarray]


def before_after(before: Side, after: Side) -> Figure:
    """Two panels: before BN, after normalizing.

    Each side is bin edges, shares (0 to 1) at the first probe, and shares at the chosen step.
    """
    data, xs, ys = [], [], []
    for k, (edges, first, now) in enumerate((before, after)):
        data += [
            outline(
                k,
                edges,
                first,
                line={"color": colour("batch"), "dash": "dot", "width": 1.5},
                name=_("first probe"),
                legendgroup="first",
                showlegend=k == 0,
            ),
            outline(
                k,
                edges,
                now,
                line={"color": colour("builtin"), "width": 2},
                fill="tozeroy",
                fillcolor=colour("builtin", 0.2),
                name=_("chosen step"),
                legendgroup="now",
                showlegend=k == 0,
            ),
        ]
        xs.append(axis("value", range=[float(edges[0]), float(edges[-1])]))
        ys.append({**(axis("density") if k == 0 else {}), "rangemode": "tozero"})
    panels = grid(xs, ys, [_("before BN"), _("after normalizing")], 2)
    return figure(data, panels, legend_y=1.12)
