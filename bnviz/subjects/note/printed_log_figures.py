"""The note's printed log beside its replay."""

from typing import Any

import pandas as pd

from bnviz.charts.marks import Figure, drawing, grid, scatter
from bnviz.charts.theme import axis, colour, hover
from bnviz.i18n import _

EPOCHS = {"dtick": 1, "range": [0.7, 5.3]}


def _line(x: Any, y: Any, name: str, uid: str, quantity: str, shade: str, dash: str, symbol: str) -> dict[str, Any]:  # fmt: skip
    return scatter(
        0, x, y, mode="lines+markers", name=name, uid=uid,
        line={"color": colour(shade), "dash": dash, "width": 2.2},
        marker={"size": 8, "symbol": symbol},
        hovertemplate=name + "<br>" + hover("epoch", quantity),
    )  # fmt: skip


def printed_losses(printed: pd.DataFrame, replay: pd.DataFrame) -> Figure:
    """Loss as the note prints it above, as it should be below.

    Columns epoch, loss of `printed`; epoch, printed_loss and mean_loss of `replay`.
    """
    note = _line(
        printed["epoch"],
        printed["loss"],
        _("the note's log"),
        "note",
        "printed_loss",
        "note",
        "dashdot",
        "diamond",
    )
    same = _line(
        replay["epoch"],
        replay["printed_loss"],
        _("replayed"),
        "replay",
        "printed_loss",
        "builtin",
        "solid",
        "circle",
    )
    right = _line(
        replay["epoch"],
        replay["mean_loss"],
        _("replayed, as it should be"),
        "right",
        "loss",
        "truth",
        "dash",
        "square",
    )
    right |= {"xaxis": "x2", "yaxis": "y2"}
    layout = grid(
        [axis("epoch", **EPOCHS)] * 2,
        [axis("printed_loss", rangemode="tozero"), axis("loss", rangemode="tozero")],
        [_("as printed"), _("as it should be")], columns=1,
    )  # fmt: skip
    return drawing([note, same, right], layout, legend_y=1.12)


def printed_accuracies(printed: pd.DataFrame, replay: pd.DataFrame) -> Figure:
    """Accuracy as printed, as the note measures it, and in eval mode (0 to 1)."""
    sides = (
        ("eval_accuracy", _("replayed, eval mode"), "solid", "circle"),
        ("note_accuracy", _("replayed, as the note measures"), "dot", "circle-open"),
    )
    data = [
        _line(printed["epoch"], 100 * printed["accuracy"], _("the note's log"), "note", "accuracy", "note", "dashdot", "diamond"),
        *(
            _line(replay["epoch"], 100 * replay[column], name, column, "accuracy", "builtin", dash, symbol)
            for column, name, dash, symbol in sides
        ),
    ]  # fmt: skip
    return drawing(data, {"xaxis": axis("epoch", **EPOCHS), "yaxis": axis("accuracy")})
