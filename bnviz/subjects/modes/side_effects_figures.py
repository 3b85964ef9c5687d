"""Eval mode after passes that moved nothing but the running statistics."""

from collections.abc import Mapping, Sequence

import numpy as np

from bnviz.charts.marks import Figure, bars_down, drawing, names_down
from bnviz.charts.theme import axis, colour
from bnviz.i18n import _


def accuracy_after(before: float, after: Mapping[str, float]) -> Figure:
    """Accuracy (0 to 1) before, and by what was done after."""
    shades = [colour("batch", 0.8), *[colour("eval_mode", 0.8)] * len(after)]
    return accuracies({_("before"): before, **after}, shades)


def accuracies(found: Mapping[str, float], shades: Sequence[str]) -> Figure:
    """A bar a name: accuracy in eval mode (0 to 1), in a colour each."""
    bar = bars_down(
        100 * np.array([*found.values()], np.float32),
        [*found],
        list(shades),
        text=[f"{value:.1%}" for value in found.values()],
        textposition="auto",
        hovertemplate="%{y}: %{x:.2f}%<extra></extra>",
        name=_("eval mode"),
    )
    return drawing([bar], {"xaxis": axis("accuracy", range=[0, 100]), "yaxis": names_down()})
