"""What the running statistics keep alive, and the process around it."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from bnviz.charts.card import HEIGHT, Card
from bnviz.charts.marks import Figure, curve, curves_over_steps, drawing, event_marks, stacked
from bnviz.charts.registry import figure
from bnviz.charts.theme import QUANTITIES, axis, from_zero, stroke
from bnviz.i18n import N_, _, sentences
from bnviz.records.reading import memory_curves, process_curve
from bnviz.selection import Selection
from bnviz.training.run_view import RunView
from bnviz.units import MIB

UNITS = {"kept_bytes": MIB, "graph_nodes": 1000}
"""Of the quantities in the upper panels."""
PROCESS = len(UNITS)  # the panel below them


def memory_over_steps(
    kept: Mapping[str, pd.DataFrame],
    process: pd.DataFrame,
    labels: Mapping[str, str],
    events: Sequence[Mapping[str, Any]],
    limit_mib: float,
) -> Figure:
    """Tensor bytes kept, graph nodes, memory of the process (and of the device where there is one).

    `kept`: per variant the columns step, kept_bytes, graph_nodes. `process`: as of
    `bnviz.records.reading.process_curve`. A line marks the limit once half of it is reached.
    """
    drawn = {
        v: frame.assign(**{q: frame[q] / unit for q, unit in UNITS.items()})
        for v, frame in kept.items()
    }
    data = curves_over_steps(drawn, list(UNITS), labels, shape="hv") + _process(process)
    top = max((float(f["kept_bytes"].max()) for f in drawn.values() if len(f)), default=0.0)
    first = axis("kept_bytes", range=[0, max(1.0, 1.15 * top)])
    rows = [first, from_zero("graph_nodes"), from_zero(_quantity(process))]
    marks = event_marks(events)
    if top > 0.5 * limit_mib:
        marks["shapes"].append(_limit(limit_mib))
    return drawing(data, {**stacked(rows, from_zero("step"), gap=0.09), **marks})


def _quantity(process: pd.DataFrame) -> str:
    """Which memory of the process was recorded: its own, or its RSS."""
    return "own" if "own" in process else "rss"


def _process(process: pd.DataFrame) -> list[dict[str, Any]]:
    """Memory of the process, and of the device where anything was allocated on one."""
    on_device = bool((process["device_allocated"] > 0).any())
    quantities = (_quantity(process), *(["device_allocated"] if on_device else []))
    return [
        curve(
            PROCESS,
            process["step"],
            process[quantity] / MIB,
            ("step", quantity),
            stroke("truth", dash, 1.6),
            name=_(QUANTITIES[quantity].label),
        )
        for quantity, dash in zip(quantities, ("solid", "dot"), strict=False)
    ]


def _limit(limit_mib: float) -> dict[str, Any]:
    """The memory limit as a line across the first panel."""
    ends = {"x0": 0, "x1": 1, "y0": limit_mib, "y1": limit_mib}
    line = stroke("wrong", "dash", 1.5)
    return {"type": "line", "xref": "x domain", "yref": "y", **ends, "line": line}


@figure("memory/kept", N_("What the running statistics keep alive"))
def memory_kept(run: RunView, _chosen: Selection) -> Card:
    """What running statistics keep alive, and the process."""
    found = {v: memory_curves(run.history, v) for v in run.config.variants}
    said = _("{label} keeps {bytes:,.1f} MiB and {nodes:,} graph nodes alive.")
    parts = [
        said.format(label=run.labels[v], bytes=size / MIB, nodes=int(nodes))
        for v, frame in found.items()
        for size, nodes in frame[["kept_bytes", "graph_nodes"]].tail(1).to_numpy()
    ]
    return Card(
        key="kept",
        title=_("What the running statistics keep alive"),
        figure=memory_over_steps(
            found,
            process_curve(run.history),
            run.labels,
            run.history.events,
            run.config.memory_limit_mib,
        ),
        sentence=sentences(*parts)
        or _("The first count comes after {n} steps.").format(n=run.config.memory_every),
        alt=_("Tensor bytes kept, graph nodes and process memory over the steps"),
        height=HEIGHT,
    )
