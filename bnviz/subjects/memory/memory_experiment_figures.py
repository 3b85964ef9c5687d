"""The memory experiment: what is kept over the steps, what each cut freed, what each batch holds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bnviz.charts.marks import Figure, drawing, scatter, stacked
from bnviz.charts.theme import DASH, axis, colour, hover
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
    """Tensors kept and graph nodes of each layer, what the process gained, and the memory of the device if any.

    `measured`: columns step, process_gained, device_allocated, device_reserved and for each variant
    ``kept_bytes <variant>`` and ``graph_nodes <variant>``. `predicted`: step, kept_bytes and
    graph_nodes of the note's layer. `cuts`: ``step`` and ``text`` of each mark.
    """
    on_device = bool(len(measured)) and bool((measured["device_reserved"] > 0).any())
    panels = PANELS if on_device else PANELS[:3] if len(measured) else PANELS[:2]
    data = [*_predicted(predicted)]
    for panel, (quantity, unit) in enumerate(panels[:2]):
        data += [
            scatter(
                panel, measured["step"], measured[f"{quantity} {variant}"] / unit,
                mode="lines",
                line={"color": colour(variant), "dash": DASH[variant], "width": 2},
                name=label, legendgroup=variant, showlegend=panel == 0,
                hovertemplate=hover("step", quantity),
            )
            for variant, label in labels.items()
        ]  # fmt: skip
    data += _process(measured, on_device) if len(measured) else []
    rows = [axis(quantity, rangemode="tozero") for quantity, _unit in panels]
    rows[0]["range"] = [0, _top(measured, predicted, labels)]
    layout = stacked(rows, axis("step", rangemode="tozero"), gap=0.07)
    if rows[0]["range"][1] > 0.6 * budget_mib:
        data.append(
            _budget(budget_mib, max(f["step"].max() for f in (measured, predicted) if len(f)))
        )
    return drawing(data, {**layout, **_marks(cuts)})


def _top(measured: pd.DataFrame, predicted: pd.DataFrame, labels: Mapping[str, str]) -> float:
    """A little more than the largest value of the first panel, in MiB."""
    columns = [measured[f"kept_bytes {v}"] for v in labels] + [predicted["kept_bytes"]]
    return 1.1 * max(0.1, *(float(c.max()) / MIB for c in columns if len(c)))


def _predicted(predicted: pd.DataFrame) -> list[dict[str, Any]]:
    """What shapes alone say of the note's layer, as a wide pale line under the measured one."""
    return [
        scatter(
            panel, predicted["step"], predicted[quantity] / unit,
            mode="lines",
            line={"color": colour("note", 0.3), "width": 7},
            name=_("predicted from shapes"), legendgroup="predicted", showlegend=panel == 0,
            hovertemplate=hover("step", quantity),
        )
        for panel, (quantity, unit) in enumerate(PANELS[:2])
    ]  # fmt: skip


def _process(measured: pd.DataFrame, on_device: bool) -> list[dict[str, Any]]:
    """What the process gained; on a device what is allocated and what the allocator has reserved."""
    wanted = [("process_gained", 2, "solid", _("process memory gained"))]
    if on_device:
        wanted += [
            ("device_allocated", 3, "solid", _("device memory allocated")),
            ("device_reserved", 3, "dot", _("device memory reserved")),
        ]
    return [
        scatter(
            panel, measured["step"], measured[quantity] / MIB,
            mode="lines",
            line={"color": colour("truth"), "dash": dash, "width": 1.6},
            name=name, hovertemplate=hover("step", quantity),
        )
        for quantity, panel, dash, name in wanted
    ]  # fmt: skip


def _marks(cuts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A line through all panels at each cut; the newest WORDED have their words in the first."""
    shapes = [
        {
            "type": "line", "xref": "x", "yref": "paper", "x0": cut["step"], "x1": cut["step"],
            "y0": 0, "y1": 1, "line": {"color": colour("event"), "width": 1, "dash": "dot"},
        }
        for cut in cuts
    ]  # fmt: skip
    notes = [
        {
            "text": cut["text"], "x": cut["step"], "y": 1 - 0.2 * k, "xref": "x",
            "yref": "y domain", "xanchor": "right", "yanchor": "top", "showarrow": False,
            "font": {"color": colour("event")}, "bgcolor": colour("paper", 0.85),
        }
        for k, cut in enumerate(cuts[-WORDED:])
    ]  # fmt: skip
    return {"shapes": shapes, "annotations": notes}


def _budget(budget_mib: float, last: float) -> dict[str, Any]:
    """A line at the budget, up to the last step that is drawn."""
    return scatter(
        0, np.array([0, last]), np.array([budget_mib] * 2),
        mode="lines",
        line={"color": colour("batch"), "width": 1.5, "dash": "longdash"},
        name=_("budget, {mib:,.0f} MiB").format(mib=budget_mib), uid="budget", hoverinfo="skip",
    )  # fmt: skip


def freed_by_cut(names: Sequence[str], before: np.ndarray, freed: np.ndarray) -> Figure:
    """Each cut as a bar, oldest first: what it freed and what stayed, in MiB of `before` bytes."""
    parts = (
        (_("freed"), freed, "right"),
        (_("still kept"), before - freed, "wrong"),
    )
    data = [
        {
            "type": "bar", "x": list(names), "y": np.asarray(values / MIB, np.float32),
            "name": name, "marker": {"color": colour(shade)}, "width": min(0.6, 0.15 * len(names)),
            "hovertemplate": hover("cut", "kept_bytes"),
        }
        for name, values, shade in parts
    ]  # fmt: skip
    layout = {"barmode": "stack", "xaxis": axis("cut", type="category"),
              "yaxis": axis("kept_bytes", rangemode="tozero")}  # fmt: skip
    return drawing(data, layout)


def bytes_by_batch(batches: pd.DataFrame, chosen: int) -> Figure:
    """What each batch of the chain holds: columns batch, start and bytes; the chosen one stands out.

    A click on a bar tells its `start`.
    """
    shades = [colour("event") if k == chosen else colour("note") for k in batches["batch"]]
    bar = {
        "type": "bar",
        "x": batches["batch"].to_numpy(),
        "y": np.asarray(batches["bytes"] / MIB, np.float32),
        "marker": {"color": shades},
        "customdata": batches["start"].to_numpy(),
        "hovertemplate": hover("chain_batch", "kept_batch"),
        "showlegend": False,
    }
    top = max(0.01, 1.1 * float(batches["bytes"].max()) / MIB)
    return drawing(
        [bar], {"xaxis": axis("chain_batch"), "yaxis": axis("kept_batch", range=[0, top])}
    )
