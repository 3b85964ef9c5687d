"""Both modes on changed test images."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bnviz.charts.marks import Figure, drawing, scatter
from bnviz.charts.theme import axis, colour, hover
from bnviz.i18n import _


def modes_over_strength(frame: pd.DataFrame) -> Figure:
    """Accuracy of both modes; `frame` is of `bnviz.subjects.modes.corruptions.modes_under_shift`."""
    return drawing(
        [
            scatter(
                0,
                frame["strength"],
                100 * frame[side],
                mode="lines+markers",
                name=name,
                line={"color": colour(shade), "dash": dash, "width": 2},
                marker={"size": 7},
                hovertemplate=name + "<br>" + hover("strength", "accuracy"),
            )
            for side, name, shade, dash in (
                ("train", _("train mode"), "builtin", "solid"),
                ("eval", _("eval mode"), "truth", "dash"),
            )
        ],
        {"xaxis": axis("strength"), "yaxis": axis("accuracy", range=[0, 100])},
    )


def modes_by_kind(frame: pd.DataFrame, names: Sequence[str]) -> Figure:
    """Two bars a kind of change; `frame` has columns train and eval (0 to 1)."""
    return drawing(
        [
            {
                "type": "bar",
                "x": list(names),
                "y": (100 * frame[side]).to_numpy(np.float32),
                "name": name,
                "marker": {"color": colour(shade, opacity)},
                "hovertemplate": "%{x}: %{y:.1f}%",
            }
            for side, name, shade, opacity in (
                ("train", _("train mode"), "builtin", 0.9),
                ("eval", _("eval mode"), "batch", 0.8),
            )
        ],
        {
            "barmode": "group",
            "xaxis": axis("change", type="category"),
            "yaxis": axis("accuracy", range=[0, 100]),
        },
    )
