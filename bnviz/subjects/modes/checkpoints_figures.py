"""Both modes at the checkpoints of a run."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bnviz.charts.marks import Figure, dots, drawing, named_curve, step_mark
from bnviz.charts.theme import axis, colour, from_zero, own_stroke, stroke
from bnviz.i18n import _


def modes_over_checkpoints(
    frame: pd.DataFrame, variant: str, tests: Sequence[int], chosen: int
) -> Figure:
    """Accuracy of both modes; `frame` has columns step, train, eval (0 to 1).

    `tests` are steps at which test passes in train mode moved the statistics, `chosen` the step
    whose weights the other views show.
    """
    modes = (
        ("train", _("train mode"), stroke(variant, "dot", opacity=0.8)),
        ("eval", _("eval mode"), own_stroke(variant)),
    )
    shown, marker = ("step", "accuracy"), {"size": 6}
    data = [
        named_curve(frame["step"], 100 * frame[mode], shown, line, name, marker=marker)
        for mode, name, line in modes
    ]
    if tests:
        low = 100 * float(frame[["train", "eval"]].min().min())
        triangle = {"symbol": "triangle-up", "size": 10, "color": colour("event")}
        said = _("step %{x}: test() moved the running statistics")
        marks = {"name": _("test pass in train mode"), "hovertemplate": said}
        data.append(dots(0, tests, np.full(len(tests), low), shown, triangle, **marks))
    scales = {"xaxis": from_zero("step"), "yaxis": axis("accuracy")}
    return drawing(data, {**scales, "shapes": step_mark(0, chosen)})


def pairs_over_checkpoints(frame: pd.DataFrame, total: int) -> Figure:
    """Shares of images right in one mode only or in none; `frame` has the counts of each."""
    looks = {
        "only_eval": (_("only eval mode right"), stroke("eval_mode", "solid")),
        "only_train": (_("only train mode right"), stroke("train_mode", "dash")),
        "none": (_("neither right"), stroke("batch", "dot")),
    }
    data = [
        named_curve(frame["step"], 100 * frame[of] / total, ("step", "share_images"), line, name)
        for of, (name, line) in looks.items()
    ]
    return drawing(data, {"xaxis": from_zero("step"), "yaxis": from_zero("share_images")})
