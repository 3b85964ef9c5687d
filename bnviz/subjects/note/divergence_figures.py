"""Two runs in lock-step: how far apart each kind of tensor is, step by step."""

import numpy as np
import pandas as pd

from bnviz.charts.marks import Figure, drawing, scatter, step_mark
from bnviz.charts.theme import axis, colour, hover
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
        if not len(rows):
            continue
        data.append(
            scatter(
                0, rows["step"], rows["difference"].clip(FLOOR, CEILING), mode="lines",
                name=_(name), line={"color": colour(shade), "dash": dash, "width": 2},
                text=[f"{layer}, {tensor}" for layer, tensor in zip(rows["layer"], rows["tensor"], strict=True)],
                hovertemplate=lines(f"{_(name)}, %{{text}}", hover("step", "apart_relative")),
            )
        )  # fmt: skip
    ends = [frame["step"].min(), frame["step"].max()] if len(frame) else [0, 1]
    data.append(
        scatter(
            0, ends, np.full(2, tolerance), mode="lines", name=_("tolerance"), hoverinfo="skip",
            line={"color": colour("truth"), "dash": "longdash", "width": 1.4},
        )
    )  # fmt: skip
    return drawing(
        data,
        {
            "xaxis": axis("step"),
            "yaxis": axis("apart_relative", type="log", exponentformat="power"),
            "shapes": step_mark(0, first),
        },
    )
