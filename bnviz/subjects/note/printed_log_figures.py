"""The note's printed log beside its replay."""

from typing import Any

import pandas as pd

from bnviz.charts.marks import Figure, drawing, grid, in_panel, named_curve
from bnviz.charts.theme import axis, from_zero, stroke
from bnviz.i18n import _

WIDTH = 2.2
EPOCHS = {"dtick": 1, "range": [0.7, 5.3]}


def _line(
    x: pd.Series,
    y: pd.Series,
    name: str,
    uid: str,
    quantity: str,
    line: dict[str, Any],
    symbol: str,
) -> dict[str, Any]:
    looks = {"uid": uid, "marker": {"size": 8, "symbol": symbol}}
    return named_curve(x, y, ("epoch", quantity), line, name, **looks)


def _as_printed(printed: pd.DataFrame, y: pd.Series, quantity: str) -> dict[str, Any]:
    """What the note's log says."""
    line = stroke("note", "dashdot", WIDTH)
    return _line(printed["epoch"], y, _("the note's log"), "note", quantity, line, "diamond")


def printed_losses(printed: pd.DataFrame, replay: pd.DataFrame) -> Figure:
    """Loss as the note prints it above, as it should be below.

    Columns epoch, loss of `printed`; epoch, printed_loss and mean_loss of `replay`.
    """
    epochs, loss, mean = (replay[name] for name in ("epoch", "printed_loss", "mean_loss"))
    solid, dashed = stroke("builtin", "solid", WIDTH), stroke("truth", "dash", WIDTH)
    name = _("replayed, as it should be")
    right = _line(epochs, mean, name, "right", "loss", dashed, "square")
    data = [
        _as_printed(printed, printed["loss"], "printed_loss"),
        _line(epochs, loss, _("replayed"), "replay", "printed_loss", solid, "circle"),
        right | in_panel(1),
    ]
    ys = [from_zero("printed_loss"), from_zero("loss")]
    titles = [_("as printed"), _("as it should be")]
    return drawing(data, grid([axis("epoch", **EPOCHS)] * 2, ys, titles, 1), legend_y=1.12)


def printed_accuracies(printed: pd.DataFrame, replay: pd.DataFrame) -> Figure:
    """Accuracy as printed, as the note measures it, and in eval mode (0 to 1)."""
    replayed = (
        ("eval_accuracy", _("replayed, eval mode"), "solid", "circle"),
        ("note_accuracy", _("replayed, as the note measures"), "dot", "circle-open"),
    )
    data = [_as_printed(printed, 100 * printed["accuracy"], "accuracy")]
    for column, name, dash, symbol in replayed:
        line, percent = stroke("builtin", dash, WIDTH), 100 * replay[column]
        data.append(_line(replay["epoch"], percent, name, column, "accuracy", line, symbol))
    return drawing(data, {"xaxis": axis("epoch", **EPOCHS), "yaxis": axis("accuracy")})
