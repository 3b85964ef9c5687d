"""Train mode against eval mode on the same images."""

import numpy as np
import pandas as pd

from bnviz.charts.marks import Figure, drawing
from bnviz.charts.theme import axis, colour
from bnviz.i18n import _, lines

MOST_DOTS = 300
"""Images of a group that are drawn, evenly spaced: thousands of dots would hide each other."""


def probability_of_truth(frame: pd.DataFrame, class_names: tuple[str, ...]) -> Figure:
    """Each image's probability of its true class: train mode across, eval mode up.

    `frame` is what `bnviz.evaluation.modes.paired` returns.
    """
    data = [
        {
            "type": "scatter",
            "x": [0, 100],
            "y": [0, 100],
            "mode": "lines",
            "line": {"color": colour("batch", 0.6), "dash": "dot", "width": 1},
            "hoverinfo": "skip",
            "showlegend": False,
        }
    ]
    for name, mask, shade, symbol, size in _groups(frame):
        count = int(mask.sum())
        rows = frame[mask].iloc[:: -(-count // MOST_DOTS) or 1]
        drawn = _("{n:,} drawn of {count:,}").format(n=len(rows), count=count)
        data.append(
            {
                "type": "scatter",
                "x": (100 * rows["train_true"]).to_numpy(np.float32),
                "y": (100 * rows["eval_true"]).to_numpy(np.float32),
                "mode": "markers",
                "marker": {"color": colour(shade, 0.8), "symbol": symbol, "size": size},
                "name": f"{name} ({count if len(rows) == count else drawn})",
                "uid": f"{shade}-{symbol}",  # a name with a count in it is another one each time
                "customdata": rows.index.to_numpy(np.int32),
                "text": [class_names[label] for label in rows["label"]],
                "hovertemplate": lines(
                    _("image %{customdata}: %{text}"), _("train %{x:.1f}%, eval %{y:.1f}%")
                ),
            }
        )
    label = axis("probability_of_truth")["title"]["text"]
    return drawing(
        data,
        {
            "xaxis": {
                "title": {"text": _("train mode: {axis}").format(axis=label)},
                "range": [-3, 103],
            },
            "yaxis": {
                "title": {"text": _("eval mode: {axis}").format(axis=label)},
                "range": [-3, 103],
            },
        },
    )


def _groups(frame: pd.DataFrame) -> tuple[tuple[str, pd.Series, str, str, int], ...]:
    """Name, mask, colour, symbol and size of the images that share a fate."""
    return (
        (_("same prediction"), ~frame["differ"], "batch", "circle", 5),
        (
            _("only eval mode right"),
            frame["differ"] & frame["eval_right"],
            "right",
            "triangle-up",
            9,
        ),
        (_("only train mode right"), frame["differ"] & frame["train_right"], "wrong", "square", 8),
        (
            _("both wrong, different predictions"),
            frame["differ"] & ~frame["eval_right"] & ~frame["train_right"],
            "note",
            "x",
            8,
        ),
    )


def accuracy_by_class(frame: pd.DataFrame, class_names: tuple[str, ...]) -> Figure:
    """Accuracy of both modes for each class; `frame` as in `probability_of_truth`."""
    by_class = 100 * frame.groupby("label")[["train_right", "eval_right"]].mean()
    names = [class_names[label] for label in by_class.index]
    data = [
        {
            "type": "bar",
            "y": names,
            "x": by_class[f"{side}_right"].to_numpy(np.float32),
            "orientation": "h",
            "name": name,
            "marker": {
                "color": colour(shade, 0.9 if side == "eval" else 0.35),
                "line": {"color": colour(shade), "width": 1.5},
            },
            "hovertemplate": "%{y}: %{x:.1f}%",
        }
        for side, name, shade in (
            ("train", _("train mode"), "builtin"),
            ("eval", _("eval mode"), "builtin"),
        )
    ]
    return drawing(
        data,
        {
            "barmode": "group",
            "bargap": 0.3,
            "xaxis": axis("accuracy", range=[0, 100]),
            "yaxis": {"autorange": "reversed", "automargin": True},
        },
    )
