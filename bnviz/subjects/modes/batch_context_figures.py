"""One image among many batches, and accuracy over the batch size."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from bnviz.charts.marks import Figure, bars_down, drawing, names_down
from bnviz.charts.theme import axis, colour, stroke
from bnviz.i18n import _

_BOX = {
    "type": "box",
    "orientation": "h",
    "marker": {"color": colour("train_mode"), "size": 3},
    "line": {"width": 1.5},
    "boxpoints": "outliers",
    "showlegend": False,
}
_DIAMOND = {"symbol": "diamond-open", "size": 10, "line": {"width": 2}}


def logits_by_class(
    logits: np.ndarray, evaluated: np.ndarray, class_names: tuple[str, ...]
) -> Figure:
    """A box a class of the `logits` (batches, 10) in train mode, and eval mode's (10,) as diamonds."""
    boxes = [
        {**_BOX, "x": values.astype(np.float32), "name": name}
        for values, name in zip(logits.T, class_names, strict=True)
    ]
    diamonds = {
        "type": "scatter",
        "x": evaluated.astype(np.float32),
        "y": list(class_names),
        "mode": "markers",
        "marker": {**_DIAMOND, "color": colour("eval_mode")},
        "name": _("eval mode"),
        "hovertemplate": "%{y}: %{x:.2f}",
    }
    scales = {"xaxis": axis("logit", zeroline=True), "yaxis": names_down()}
    return drawing([*boxes, diamonds], scales)


def predictions(
    counts: pd.Series, class_names: tuple[str, ...], truth: str, random_batches: int
) -> Figure:
    """A bar a predicted class; `counts` has the batches by class, `truth` is the right name."""
    names = [class_names[k] for k in counts.index]
    bar = bars_down(
        counts.to_numpy(np.int32),
        names,
        [colour("right" if name == truth else "wrong", 0.8) for name in names],
        text=[f"{n}" for n in counts],
        textposition="auto",
        hovertemplate="%{y}: %{x}<extra></extra>",
        name=_("random batches"),
    )
    scales = {"xaxis": axis("random_batches", range=[0, random_batches]), "yaxis": names_down()}
    return drawing([bar], scales)


def accuracy_by_batch(accuracy: Mapping[int, float], evaluated: float, chosen: int) -> Figure:
    """Accuracy in train mode by batch size (0 to 1), eval mode's as a line, the chosen size marked."""
    sizes = list(accuracy)
    train = {
        "type": "scatter",
        "x": sizes,
        "y": 100 * np.array(list(accuracy.values()), np.float32),
        "mode": "lines+markers",
        "marker": {"size": [11 if n == chosen else 6 for n in sizes]},
        "line": stroke("train_mode"),
        "name": _("train mode"),
        "hovertemplate": _("batches of %{x}: %{y:.1f}%"),
    }
    across = {
        "type": "scatter",
        "x": [sizes[0], sizes[-1]],
        "y": [100 * evaluated] * 2,
        "mode": "lines",
        "line": stroke("eval_mode", "dash"),
        "name": _("eval mode"),
        "hovertemplate": "%{y:.1f}%",
    }
    x = axis("batch_size", type="log", tickvals=sizes, ticktext=list(map(str, sizes)))
    return drawing([train, across], {"xaxis": x, "yaxis": axis("accuracy")})
