"""Train mode against eval mode on the same images."""

from typing import Any

import numpy as np
import pandas as pd

from bnviz.charts.marks import Figure, bars_down, drawing, names_down
from bnviz.charts.theme import axis, colour, stroke
from bnviz.i18n import _, lines

MOST_DOTS = 300
"""Images of a group that are drawn, evenly spaced: thousands of dots would hide each other."""


def probability_of_truth(frame: pd.DataFrame, class_names: tuple[str, ...]) -> Figure:
    """Each image's probability of its true class: train mode across, eval mode up.

    `frame` is what `bnviz.evaluation.modes.paired` returns.
    """
    same = {"mode": "lines", "line": stroke("batch", "dot", 1, 0.6)}
    silent = {"hoverinfo": "skip", "showlegend": False}
    data = [{"type": "scatter", "x": [0, 100], "y": [0, 100], **same, **silent}]
    data += [_group(frame, class_names, *group) for group in _groups(frame)]
    label, ends = axis("probability_of_truth")["title"]["text"], [-3, 103]
    train, evaluation = _("train mode: {axis}"), _("eval mode: {axis}")
    return drawing(
        data,
        {
            "xaxis": {"title": {"text": train.format(axis=label)}, "range": ends},
            "yaxis": {"title": {"text": evaluation.format(axis=label)}, "range": ends},
        },
    )


def _group(
    frame: pd.DataFrame, class_names: tuple[str, ...], name: str, mask: pd.Series, *look: Any
) -> dict[str, Any]:
    """The dots of one of `_groups`, at most MOST_DOTS of them."""
    (shade, symbol, size), count = look, int(mask.sum())
    rows = frame[mask].iloc[:: -(-count // MOST_DOTS) or 1]
    drawn = _("{n:,} drawn of {count:,}").format(n=len(rows), count=count)
    return {
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


def _groups(frame: pd.DataFrame) -> tuple[tuple[str, pd.Series, str, str, int], ...]:
    """Name, mask, colour, symbol and size of the images that share a fate."""
    differ, train, evaluation = (frame[name] for name in ("differ", "train_right", "eval_right"))
    neither = differ & ~evaluation & ~train
    return (
        (_("same prediction"), ~differ, "batch", "circle", 5),
        (_("only eval mode right"), differ & evaluation, "eval_mode", "triangle-up", 9),
        (_("only train mode right"), differ & train, "train_mode", "square", 8),
        (_("both wrong, different predictions"), neither, "wrong", "x", 8),
    )


def accuracy_by_class(frame: pd.DataFrame, class_names: tuple[str, ...]) -> Figure:
    """Accuracy of both modes for each class; `frame` as in `probability_of_truth`."""
    by_class = 100 * frame.groupby("label")[["train_right", "eval_right"]].mean()
    names = [class_names[label] for label in by_class.index]
    data = []
    for mode, name in (("train", _("train mode")), ("eval", _("eval mode"))):
        percent = by_class[f"{mode}_right"].to_numpy(np.float32)
        looks = {"name": name, "showlegend": True, "hovertemplate": "%{y}: %{x:.1f}%"}
        data.append(bars_down(percent, names, colour(f"{mode}_mode", 0.8), **looks))
    scales = {"xaxis": axis("accuracy", range=[0, 100]), "yaxis": names_down()}
    return drawing(data, {"barmode": "group", "bargap": 0.3, **scales})
