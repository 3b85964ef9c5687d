"""Two runs in lock-step: how far apart each kind of tensor is, step by step."""

import pandas as pd

from bnviz.charts.marks import Figure, curve, drawing, scatter, step_mark
from bnviz.charts.theme import axis, hover, stroke
from bnviz.i18n import N_, _, lines

FLOOR, CEILING = 1e-17, 1e3
"""The same bits are drawn at the floor, what is no number at the ceiling."""
KINDS = {
    "forward": (N_("forward"), "group0", "solid"),
    "gradient": (N_("gradient"), "group1", "dot"),
    "parameter": (N_("parameter"), "group2", "dash"),
    "buffer": (N_("running statistic"), "group3", "dashdot"),
}


def difference_over_steps(frame: pd.DataFrame, tolerance: float, first: int | None) -> Figure:
    """The largest difference of each step and kind; `frame` is that of `largest_by_step`.

    `tolerance` is a line, `first` the step of the first difference above it.
    """
    data = []
    for kind, (name, shade, dash) in KINDS.items():
        rows = frame[frame["kind"] == kind]
        if len(rows):
            drawn, shown = rows["difference"].clip(FLOOR, CEILING), ("step", "apart_relative")
            said = {
                "text": [f"{at}, {tensor}" for at, tensor in rows[["layer", "tensor"]].to_numpy()],
                "hovertemplate": lines(f"{_(name)}, %{{text}}", hover(*shown)),
            }
            line = stroke(shade, dash)
            data.append(curve(0, rows["step"], drawn, shown, line, name=_(name), **said))
    ends = [frame["step"].min(), frame["step"].max()] if len(frame) else [0, 1]
    limit = {"mode": "lines", "line": stroke("truth", "longdash", 1.4), "hoverinfo": "skip"}
    data.append(scatter(0, ends, [tolerance] * 2, name=_("tolerance"), **limit))
    y = axis("apart_relative", type="log", exponentformat="power")
    return drawing(data, {"xaxis": axis("step"), "yaxis": y, "shapes": step_mark(0, first)})
