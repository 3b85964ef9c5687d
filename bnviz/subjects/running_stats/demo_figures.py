"""The note's demo of a moving average: how it follows its batches, and what it remembers."""

import numpy as np

from bnviz.charts.marks import Figure, bars, curve, dots, drawing
from bnviz.charts.theme import axis, colour, from_zero, hover, stroke
from bnviz.i18n import _


def demo_curves(values: np.ndarray, ema: np.ndarray, average: np.ndarray) -> Figure:
    """Batch means as dots, with their moving average and the plain mean of all so far.

    All three of shape (batches,).
    """
    number, shown = np.arange(1, len(values) + 1), ("batch", "mean")
    marker, dashed = {"size": 6, "color": colour("batch")}, stroke("average", "dash")
    data = [
        dots(0, number, values, shown, marker, name=_("batch mean (the last value)")),
        curve(0, number, average, shown, dashed, name=_("plain mean of all")),
        curve(0, number, ema, shown, stroke("replay", width=2.4), name=_("moving average")),
    ]
    return drawing(data, {"xaxis": axis("batch"), "yaxis": axis("mean")})


def memory_of_an_average(weights: np.ndarray) -> Figure:
    """What each past batch weighs in the present value, newest first; `weights` sum to 1 at most."""
    bar = bars(
        np.arange(len(weights), dtype=np.int32),
        (100 * weights).astype(np.float32),
        colour("replay", 0.75),
        name=_("weight"),
        hovertemplate=hover("age", "weight"),
    )
    scales = {"xaxis": axis("age"), "yaxis": from_zero("weight")}
    return drawing([bar], {**scales, "bargap": 0.15})
