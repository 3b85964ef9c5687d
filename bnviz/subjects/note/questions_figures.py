"""The note's three questions: what a test batch keeps, which average, which mode."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from bnviz.charts.marks import Figure, bars_down, drawing, named_curve, names_down, scatter, upright
from bnviz.charts.theme import QUANTITIES, axis, colour, from_zero, hover, own_stroke, stroke
from bnviz.i18n import _, lines
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
    bar = bars_down(
        size.astype(np.float32),
        [way(row) for row in frame.to_dict("records")],
        [colour("note" if value else "batch") for value in size],
        text=[f"{value:,.2f} MiB" if value else "0" for value in size],
        textposition=["inside" if value else "outside" for value in size],
        name=_("kept by a test batch"),
        hovertemplate=lines(
            "%{y}", f"{QUANTITIES['kept_batch'].hovered('x', ',.3f')}<extra></extra>"
        ),
    )
    return drawing([bar], {"xaxis": from_zero("kept_batch"), "yaxis": names_down("way")})


def accuracy_by_estimator(frame: pd.DataFrame, labels: Mapping[str, str], variant: str) -> Figure:
    """Accuracy in eval mode by the statistics used; `frame` is that of `estimator_accuracies`."""
    special = {"none": colour("average"), "population": colour("truth")}
    errors = (100 * frame["standard_error"]).to_numpy(np.float32)
    bar = bars_down(
        (100 * frame["accuracy"]).to_numpy(np.float32),
        [labels[name] for name in frame["estimator"]],
        [special.get(e, colour(variant)) for e in frame["estimator"]],
        error_x={"type": "data", "array": errors, "color": colour("event")},
        text=[f"{100 * value:.1f}%" for value in frame["accuracy"]],
        textposition="inside",
        insidetextanchor="start",
        name=_("eval mode"),
        hovertemplate="%{y}: %{x:.1f}% ± %{error_x.array:.1f}<extra></extra>",
    )
    x = axis("accuracy", range=[0, 100])
    return drawing([bar], {"xaxis": x, "yaxis": names_down("estimator")})


def channel_curve(series: Mapping[str, np.ndarray], label: str, variant: str) -> Figure:
    """A channel's batch means, its running mean at the slider, and the mean of all batches.

    `series` has arrays of the same length: step, batch, replay, average. `label` names the replay.
    """
    marker = {"size": 4, "color": colour("batch")}
    dashed, mean = stroke("average", "dash", 2.2), _("mean of all batches so far")
    looks = {
        "batch": (_("mean of each batch"), {"mode": "markers", "marker": marker}),
        "average": (mean, {"mode": "lines", "line": dashed}),
        "replay": (label, {"mode": "lines", "line": own_stroke(variant, 2.2)}),
    }
    data = []
    for of, (name, look) in looks.items():
        said = lines(name, hover("step", "mean"))
        data.append(
            scatter(0, series["step"], series[of], name=name, uid=of, hovertemplate=said, **look)
        )
    return drawing(data, {"xaxis": from_zero("step"), "yaxis": axis("mean")})


def accuracy_by_test_batch(frame: pd.DataFrame, variant: str, chosen: int) -> Figure:
    """Both modes by the size of the test batch; `frame` is that of `accuracy_by_batch_size`."""
    sizes = frame["batch_size"].to_numpy()
    looks = (
        ("train", _("train mode"), "lines+markers", stroke(variant, "dot", 2.2)),
        ("eval", _("eval mode"), "lines", own_stroke(variant, 2.2)),
    )
    data = []
    for of, name, mode, line in looks:
        look = {"mode": mode, "marker": {"size": 8}}
        data.append(
            named_curve(sizes, 100 * frame[of], ("test_batch", "accuracy"), line, name, **look)
        )
    x = axis("test_batch", type="log", tickvals=sizes.tolist(), ticktext=[*map(str, sizes)])
    mark = upright(0, chosen, stroke("event", "dot", 1.5))
    return drawing(data, {"xaxis": x, "yaxis": axis("accuracy"), "shapes": [mark]})
