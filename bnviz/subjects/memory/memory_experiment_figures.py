"""The memory experiment: what is kept over the steps, what each cut freed, what each batch holds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bnviz.charts.marks import (
    Figure,
    bars,
    curve,
    curves_over_steps,
    drawing,
    one_entry,
    scatter,
    stacked,
    upright,
    words_at,
)
from bnviz.charts.theme import axis, colour, from_zero, hover, stroke
from bnviz.i18n import _
from bnviz.units import MIB

WORDED = 4
PANELS = (
    ("kept_bytes", MIB),
    ("graph_nodes", 1000),
    ("process_gained", MIB),
    ("device_allocated", MIB),
)


def kept_over_steps(
    measured: pd.DataFrame,
    predicted: pd.DataFrame,
    labels: Mapping[str, str],
    budget_mib: float,
    cuts: Sequence[Mapping[str, Any]] = (),
) -> Figure:
    """Tensors and graph nodes of each layer, what the process gained, the memory of a device if any.

    `measured`: columns step, process_gained, device_allocated, device_reserved and for each variant
    ``kept_bytes <variant>`` and ``graph_nodes <variant>``. `predicted`: step, kept_bytes and
    graph_nodes of the note's layer. `cuts`: ``step`` and ``text`` of each mark.
    """
    on_device = bool(len(measured)) and bool((measured["device_reserved"] > 0).any())
    panels = PANELS if on_device else PANELS[:3] if len(measured) else PANELS[:2]
    data = _predicted(predicted) + _of_layers(measured, labels)
    data += _process(measured, on_device) if len(measured) else []
    rows = [from_zero(quantity) for quantity, _unit in panels]
    rows[0]["range"] = [0, _top(measured, predicted, labels)]
    if rows[0]["range"][1] > 0.6 * budget_mib:
        last = max(f["step"].max() for f in (measured, predicted) if len(f))
        data.append(_budget(budget_mib, last))
    return drawing(data, {**stacked(rows, from_zero("step"), gap=0.07), **_marks(cuts)})


def _top(measured: pd.DataFrame, predicted: pd.DataFrame, labels: Mapping[str, str]) -> float:
    """A little more than the largest value of the first panel, in MiB."""
    columns = [measured[f"kept_bytes {v}"] for v in labels] + [predicted["kept_bytes"]]
    return 1.1 * max(0.1, *(float(c.max()) / MIB for c in columns if len(c)))


def _predicted(predicted: pd.DataFrame) -> list[dict[str, Any]]:
    """What shapes alone say of the note's layer, as a wide pale line under the measured one."""
    return [
        curve(
            panel, predicted["step"], predicted[quantity] / unit, ("step", quantity),
            stroke("note", width=7, opacity=0.3),
            **one_entry(_("predicted from shapes"), "predicted", shown=panel == 0),
        )
        for panel, (quantity, unit) in enumerate(PANELS[:2])
    ]  # fmt: skip


def _of_layers(measured: pd.DataFrame, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """Tensors and graph nodes that each layer keeps."""
    frames = {
        v: measured[["step"]].assign(**{q: measured[f"{q} {v}"] / unit for q, unit in PANELS[:2]})
        for v in labels
    }
    return curves_over_steps(frames, [quantity for quantity, _unit in PANELS[:2]], labels)


def _process(measured: pd.DataFrame, on_device: bool) -> list[dict[str, Any]]:
    """What the process gained; on a device what is allocated and what the allocator has reserved."""
    wanted = [("process_gained", 2, "solid", _("process memory gained"))]
    if on_device:
        wanted += [
            ("device_allocated", 3, "solid", _("device memory allocated")),
            ("device_reserved", 3, "dot", _("device memory reserved")),
        ]
    return [
        curve(
            panel, measured["step"], measured[quantity] / MIB, ("step", quantity),
            stroke("truth", dash, 1.6), name=name,
        )
        for quantity, panel, dash, name in wanted
    ]  # fmt: skip


def _marks(cuts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A line through all panels at each cut; the newest WORDED have their words in the first."""
    shapes = [upright(0, cut["step"], stroke("event", "dot", 1)) for cut in cuts]
    looks = {"font": {"color": colour("event")}, "bgcolor": colour("paper", 0.85)}
    refs, anchors = ("x", "y domain"), ("right", "top")
    notes = [
        words_at(cut["text"], cut["step"], 1 - 0.2 * k, refs, anchors, **looks)
        for k, cut in enumerate(cuts[-WORDED:])
    ]
    return {"shapes": shapes, "annotations": notes}


def _budget(budget_mib: float, last: float) -> dict[str, Any]:
    """A line at the budget, up to the last step that is drawn."""
    looks = {"mode": "lines", "line": stroke("batch", "longdash", 1.5), "hoverinfo": "skip"}
    name = _("budget, {mib:,.0f} MiB").format(mib=budget_mib)
    return scatter(0, [0, last], [budget_mib] * 2, name=name, uid="budget", **looks)


def freed_by_cut(names: Sequence[str], before: np.ndarray, freed: np.ndarray) -> Figure:
    """Each cut as a bar, oldest first: what it freed and what stayed, in MiB of `before` bytes."""
    parts = (
        (_("freed"), freed, "right"),
        (_("still kept"), before - freed, "wrong"),
    )
    looks = {"width": min(0.6, 0.15 * len(names)), "hovertemplate": hover("cut", "kept_bytes")}
    data = [
        bars(list(names), _mib(values), colour(shade), name=name, showlegend=True, **looks)
        for name, values, shade in parts
    ]
    scales = {"xaxis": axis("cut", type="category"), "yaxis": from_zero("kept_bytes")}
    return drawing(data, {"barmode": "stack", **scales})


def _mib(size: Any) -> np.ndarray:
    """Bytes as MiB, for a figure."""
    return np.asarray(size / MIB, np.float32)


def bytes_by_batch(batches: pd.DataFrame, chosen: int) -> Figure:
    """What each batch of the chain holds: columns batch, start and bytes; the chosen one stands out.

    A click on a bar tells its `start`.
    """
    shades = [colour("event") if k == chosen else colour("note") for k in batches["batch"]]
    bar = bars(
        batches["batch"].to_numpy(),
        _mib(batches["bytes"]),
        shades,
        customdata=batches["start"].to_numpy(),
        hovertemplate=hover("chain_batch", "kept_batch"),
    )
    top = max(0.01, 1.1 * float(batches["bytes"].max()) / MIB)
    scales = {"xaxis": axis("chain_batch"), "yaxis": axis("kept_batch", range=[0, top])}
    return drawing([bar], scales)
