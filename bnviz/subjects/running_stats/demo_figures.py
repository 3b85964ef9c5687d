"""The note's demo of a moving average: how it follows its batches, and what it remembers."""

import numpy as np

from bnviz.charts.marks import Figure, drawing, scatter
from bnviz.charts.theme import axis, colour, hover
from bnviz.i18n import _


def demo_curves(values: np.ndarray, ema: np.ndarray, average: np.ndarray) -> Figure:
    """Batch means as dots, with their moving average and the plain mean of all so far.

    All three of shape (batches,).
    """
    number = np.arange(1, len(values) + 1)
    data = [
        scatter(
            0,
            number,
            values,
            mode="markers",
            marker={"size": 6, "color": colour("batch")},
            name=_("batch mean (the last value)"),
            hovertemplate=hover("batch", "mean"),
        ),
        scatter(
            0,
            number,
            average,
            mode="lines",
            line={"color": colour("average"), "dash": "dash", "width": 2},
            name=_("plain mean of all"),
            hovertemplate=hover("batch", "mean"),
        ),
        scatter(
            0,
            number,
            ema,
            mode="lines",
            line={"color": colour("replay"), "width": 2.4},
            name=_("moving average"),
            hovertemplate=hover("batch", "mean"),
        ),
    ]
    return drawing(data, {"xaxis": axis("batch"), "yaxis": axis("mean")})


def memory_of_an_average(weights: np.ndarray) -> Figure:
    """What each past batch weighs in the present value, newest first; `weights` sum to 1 at most."""
    return drawing(
        [
            {
                "type": "bar",
                "x": np.arange(len(weights), dtype=np.int32),
                "y": (100 * weights).astype(np.float32),
                "marker": {"color": colour("replay", 0.75)},
                "name": _("weight"),
                "showlegend": False,
                "hovertemplate": hover("age", "weight"),
            }
        ],
        {"xaxis": axis("age"), "yaxis": axis("weight", rangemode="tozero"), "bargap": 0.15},
    )
