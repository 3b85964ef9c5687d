"""The note's three questions: what a test batch keeps, which average, which mode."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from bnviz.charts.marks import Figure, drawing, scatter
from bnviz.charts.theme import DASH, QUANTITIES, axis, colour, hover
from bnviz.i18n import _
from bnviz.units import MIB


def way(row: Mapping[Any, Any], between: str = "<br>") -> str:
    """One of the eight ways to test, in words."""
    graph = _("graph kept") if row["graph_kept"] else _("graph detached")
    mode = _("train mode") if row["train_mode"] else _("eval mode")
    grad = _("gradients") if row["with_grad"] else _("no_grad")
    return f"{graph}{between}{mode}, {grad}"


def kept_by_way(frame: pd.DataFrame) -> Figure:
    """What a test batch keeps in each way; `frame` is what `bytes_kept` returns."""
    size = frame["kept_bytes"].to_numpy() / MIB
    shades = [colour("note") if value else colour("batch") for value in size]
    return drawing(
        [
            {
                "type": "bar",
                "orientation": "h",
                "x": size.astype(np.float32),
                "y": [way(row) for row in frame.to_dict("records")],
                "marker": {"color": shades},
                "text": [f"{value:,.2f} MiB" if value else "0" for value in size],
                "textposition": ["inside" if value else "outside" for value in size],
                "name": _("kept by a test batch"),
                "hovertemplate": f"%{{y}}<br>{_(QUANTITIES['kept_batch'].label)} %{{x:,.3f}}{QUANTITIES['kept_batch'].after()}<extra></extra>",
                "showlegend": False,
            }
        ],
        {
            "xaxis": axis("kept_batch", rangemode="tozero"),
            "yaxis": axis("way", autorange="reversed", automargin=True, type="category"),
        },
    )  # fmt: skip


def accuracy_by_estimator(frame: pd.DataFrame, labels: Mapping[str, str], variant: str) -> Figure:
    """Accuracy in eval mode by the statistics used; `frame` is that of `estimator_accuracies`."""
    special = {"none": colour("average"), "population": colour("truth")}
    return drawing(
        [
            {
                "type": "bar",
                "orientation": "h",
                "x": (100 * frame["accuracy"]).to_numpy(np.float32),
                "y": [labels[name] for name in frame["estimator"]],
                "error_x": {
                    "type": "data",
                    "array": (100 * frame["standard_error"]).to_numpy(np.float32),
                    "color": colour("event"),
                },
                "marker": {"color": [special.get(e, colour(variant)) for e in frame["estimator"]]},
                "text": [f"{100 * value:.1f}%" for value in frame["accuracy"]],
                "textposition": "inside",
                "insidetextanchor": "start",
                "name": _("eval mode"),
                "hovertemplate": "%{y}: %{x:.1f}% ± %{error_x.array:.1f}<extra></extra>",
                "showlegend": False,
            }
        ],
        {
            "xaxis": axis("accuracy", range=[0, 100]),
            "yaxis": axis("estimator", autorange="reversed", automargin=True, type="category"),
        },
    )  # fmt: skip


def channel_curve(series: Mapping[str, np.ndarray], label: str, variant: str) -> Figure:
    """A channel's batch means, its running mean at the slider, and the mean of all batches.

    `series` has arrays of the same length: step, batch, replay, average. `label` names the replay.
    """
    lines = {
        "batch": (_("mean of each batch"), {"mode": "markers", "marker": {"size": 4, "color": colour("batch")}}),
        "average": (
            _("mean of all batches so far"),
            {"mode": "lines", "line": {"color": colour("average"), "dash": "dash", "width": 2.2}},
        ),
        "replay": (
            label,
            {"mode": "lines", "line": {"color": colour(variant), "dash": DASH[variant], "width": 2.2}},
        ),
    }  # fmt: skip
    return drawing(
        [
            scatter(
                0, series["step"], series[name], name=words, uid=name,
                hovertemplate=words + "<br>" + hover("step", "mean"), **style,
            )
            for name, (words, style) in lines.items()
        ],
        {"xaxis": axis("step", rangemode="tozero"), "yaxis": axis("mean")},
    )  # fmt: skip


def accuracy_by_test_batch(frame: pd.DataFrame, variant: str, chosen: int) -> Figure:
    """Both modes by the size of the test batch; `frame` is that of `accuracy_by_batch_size`."""
    sizes = frame["batch_size"].to_numpy()
    sides = (
        ("train", _("train mode"), {"mode": "lines+markers", "dash": "dot"}),
        ("eval", _("eval mode"), {"mode": "lines", "dash": DASH[variant]}),
    )
    data = [
        scatter(
            0, sizes, 100 * frame[side], mode=style["mode"], name=name,
            line={"color": colour(variant), "dash": style["dash"], "width": 2.2},
            marker={"size": 8}, hovertemplate=name + "<br>" + hover("test_batch", "accuracy"),
        )
        for side, name, style in sides
    ]  # fmt: skip
    layout = {
        "xaxis": axis("test_batch", type="log", tickvals=sizes.tolist(), ticktext=[*map(str, sizes)]),
        "yaxis": axis("accuracy"),
        "shapes": [
            {
                "type": "line", "x0": chosen, "x1": chosen, "xref": "x", "y0": 0, "y1": 1,
                "yref": "paper", "line": {"color": colour("event"), "width": 1.5, "dash": "dot"},
            }
        ],
    }  # fmt: skip
    return drawing(data, layout)
