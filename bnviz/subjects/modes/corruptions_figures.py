"""Both modes on changed test images."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bnviz.charts.marks import Figure, bars, drawing, named_curve
from bnviz.charts.theme import axis, colour, stroke
from bnviz.i18n import _


def modes_over_strength(frame: pd.DataFrame) -> Figure:
    """Accuracy of both modes; `frame` is of `bnviz.subjects.modes.corruptions.modes_under_shift`."""
    modes = (
        ("train", _("train mode"), stroke("train_mode", "solid")),
        ("eval", _("eval mode"), stroke("eval_mode", "dash")),
    )
    shown = ("strength", "accuracy")
    data = [
        named_curve(frame["strength"], 100 * frame[mode], shown, line, name, marker={"size": 7})
        for mode, name, line in modes
    ]
    return drawing(data, {"xaxis": axis("strength"), "yaxis": axis("accuracy", range=[0, 100])})


def modes_by_kind(frame: pd.DataFrame, names: Sequence[str]) -> Figure:
    """Two bars a kind of change; `frame` has columns train and eval (0 to 1)."""
    modes = (
        ("train", _("train mode"), colour("train_mode", 0.8)),
        ("eval", _("eval mode"), colour("eval_mode", 0.8)),
    )
    data = [
        bars(
            list(names),
            (100 * frame[mode]).to_numpy(np.float32),
            shade,
            name=name,
            showlegend=True,
            hovertemplate="%{x}: %{y:.1f}%",
        )
        for mode, name, shade in modes
    ]
    scales = {"xaxis": axis("change", type="category"), "yaxis": axis("accuracy", range=[0, 100])}
    return drawing(data, {"barmode": "group", **scales})
