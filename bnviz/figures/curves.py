"""Loss and accuracy over the steps."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from bnviz.figures.panels import event_marks, figure, stacked
from bnviz.figures.theme import DASH, axis, colour, hover
from bnviz.i18n import _


def loss_and_accuracy(
    losses: Mapping[str, pd.DataFrame],
    accuracy: pd.DataFrame,
    labels: Mapping[str, str],
    events: Sequence[Mapping[str, Any]],
    total_steps: int,
) -> go.Figure:
    """Loss above, accuracy in both modes below, all variants.

    `losses`: per variant the columns step, mean, low, high (nats). `accuracy`: columns step,
    variant, mode, accuracy (0 to 1). Filled markers are eval mode, open ones train mode.
    """
    data: list[dict[str, Any]] = []
    for variant, frame in losses.items():
        x = frame["step"].to_numpy(np.float32)
        common = {"x": x, "xaxis": "x", "yaxis": "y", "legendgroup": variant, "mode": "lines"}
        data.append(
            {
                "type": "scatter",
                **common,
                "y": frame["high"].to_numpy(np.float32),
                "line": {"width": 0},
                "hoverinfo": "skip",
                "showlegend": False,
            }
        )
        data.append(
            {
                "type": "scatter",
                **common,
                "y": frame["low"].to_numpy(np.float32),
                "line": {"width": 0},
                "fill": "tonexty",
                "fillcolor": colour(variant, 0.12),
                "hoverinfo": "skip",
                "showlegend": False,
            }
        )
        data.append(
            {
                "type": "scatter",
                **common,
                "y": frame["mean"].to_numpy(np.float32),
                "line": {"color": colour(variant), "dash": DASH[variant], "width": 2},
                "name": labels[variant],
                "hovertemplate": hover("step", "loss"),
            }
        )
    for variant in losses:
        for mode, symbol, name in (
            ("eval", "circle", _("eval mode")),
            ("train", "circle-open", _("train mode")),
            ("note", "x", _("the note's own test")),
        ):
            rows = accuracy[(accuracy["variant"] == variant) & (accuracy["mode"] == mode)]
            if rows.empty and mode == "note":
                continue
            data.append(
                {
                    "type": "scatter",
                    "x": rows["step"].to_numpy(np.float32),
                    "y": 100 * rows["accuracy"].to_numpy(np.float32),
                    "xaxis": "x2",
                    "yaxis": "y2",
                    "legendgroup": variant,
                    "showlegend": False,
                    "mode": "lines+markers",
                    "line": {
                        "color": colour(variant, 1 if mode == "eval" else 0.55),
                        "dash": "solid" if mode == "eval" else "dot",
                        "width": 2 if mode == "eval" else 1.5,
                    },
                    "marker": {"symbol": symbol, "size": 8, "color": colour(variant)},
                    "name": f"{labels[variant]}, {name}",
                    "hovertemplate": hover("step", "accuracy"),
                }
            )
    layout = stacked(
        [
            axis("loss", rangemode="tozero"),
            axis("accuracy", range=[0, 100], dtick=25),
        ],
        axis("step", range=[0, total_steps] if total_steps else None),
    )
    return figure(data, {**layout, **event_marks(events, 2)})
