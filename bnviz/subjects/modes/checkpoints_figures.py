"""Both modes at the checkpoints of a run."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bnviz.charts.marks import Figure, drawing, scatter, step_mark
from bnviz.charts.theme import DASH, axis, colour, hover
from bnviz.i18n import _


def modes_over_checkpoints(
    frame: pd.DataFrame, variant: str, tests: Sequence[int], chosen: int
) -> Figure:
    """Accuracy of both modes; `frame` has columns step, train, eval (0 to 1).

    `tests` are steps at which test passes in train mode moved the statistics, `chosen` the step
    whose weights the other views show.
    """
    data = [
        scatter(
            0,
            frame["step"],
            100 * frame[side],
            mode="lines+markers",
            name=name,
            line={"color": colour(variant, opacity), "dash": dash, "width": 2},
            marker={"size": 6},
            hovertemplate=name + "<br>" + hover("step", "accuracy"),
        )
        for side, name, dash, opacity in (
            ("train", _("train mode"), "dot", 0.8),
            ("eval", _("eval mode"), DASH[variant], None),
        )
    ]
    if tests:
        low = 100 * float(frame[["train", "eval"]].min().min())
        data.append(
            scatter(
                0,
                tests,
                np.full(len(tests), low),
                mode="markers",
                name=_("test pass in train mode"),
                marker={"symbol": "triangle-up", "size": 10, "color": colour("event")},
                hovertemplate=_("step %{x}: test() moved the running statistics"),
            )
        )
    return drawing(
        data,
        {
            "xaxis": axis("step", rangemode="tozero"),
            "yaxis": axis("accuracy"),
            "shapes": step_mark(0, chosen),
        },
    )


def pairs_over_checkpoints(frame: pd.DataFrame, total: int) -> Figure:
    """Shares of images right in one mode only or in none; `frame` has the counts of each."""
    looks = {
        "only_eval": (_("only eval mode right"), "right", "solid"),
        "only_train": (_("only train mode right"), "wrong", "dash"),
        "none": (_("neither right"), "batch", "dot"),
    }
    return drawing(
        [
            scatter(
                0,
                frame["step"],
                100 * frame[name] / total,
                mode="lines+markers",
                name=label,
                line={"color": colour(shade), "dash": dash, "width": 2},
                hovertemplate=label + "<br>" + hover("step", "share_images"),
            )
            for name, (label, shade, dash) in looks.items()
        ],
        {
            "xaxis": axis("step", rangemode="tozero"),
            "yaxis": axis("share_images", rangemode="tozero"),
        },
    )
