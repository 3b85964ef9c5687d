"""Eval mode after passes that moved nothing but the running statistics."""

from collections.abc import Mapping

import numpy as np

from bnviz.charts.marks import Figure, drawing
from bnviz.charts.theme import axis, colour
from bnviz.i18n import _


def accuracy_after(before: float, after: Mapping[str, float]) -> Figure:
    """Accuracy (0 to 1) before, and by what was done after."""
    names = [_("before"), *after]
    values = 100 * np.array([before, *after.values()], np.float32)
    return drawing(
        [
            {
                "type": "bar",
                "x": values,
                "y": names,
                "orientation": "h",
                "marker": {"color": [colour("batch", 0.8), *[colour("builtin", 0.8)] * len(after)]},
                "text": [f"{value:.1f}%" for value in values],
                "textposition": "auto",
                "hovertemplate": "%{y}: %{x:.2f}%<extra></extra>",
                "name": _("eval mode"),
                "showlegend": False,
            }
        ],
        {
            "xaxis": axis("accuracy", range=[0, 100]),
            "yaxis": {"autorange": "reversed", "automargin": True, "type": "category"},
        },
    )
