"""What the running statistics keep alive, and the process around it."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from bnviz.charts.card import HEIGHT, Card
from bnviz.charts.marks import Figure, drawing, event_marks, scatter, stacked
from bnviz.charts.registry import figure
from bnviz.charts.theme import DASH, QUANTITIES, axis, colour, hover
from bnviz.i18n import N_, _, sentences
from bnviz.records.reading import memory_curves, process_curve
from bnviz.selection import Selection
from bnviz.training.run_view import RunView
from bnviz.units import MIB

PANELS = (("kept_bytes", MIB), ("graph_nodes", 1000))
PROCESS = len(PANELS)  # the panel below them


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
    data = [
        scatter(
            panel,
            frame["step"],
            frame[quantity] / unit,
            mode="lines",
            line={"color": colour(variant), "dash": DASH[variant], "width": 2, "shape": "hv"},
            name=labels[variant],
            legendgroup=variant,
            showlegend=panel == 0,
            hovertemplate=hover("step", quantity),
        )
        for panel, (quantity, unit) in enumerate(PANELS)
        for variant, frame in kept.items()
    ]
    data += _process(process)
    top = max((float(f["kept_bytes"].max()) / MIB for f in kept.values() if len(f)), default=0.0)
    layout = stacked(
        [
            axis("kept_bytes", range=[0, max(1.0, 1.15 * top)]),
            axis("graph_nodes", rangemode="tozero"),
            axis(_quantity(process), rangemode="tozero"),
        ],
        axis("step", rangemode="tozero"),
        gap=0.09,
    )
    marks = event_marks(events)
    if top > 0.5 * limit_mib:
        marks["shapes"].append(_limit(limit_mib))
    return drawing(data, {**layout, **marks})


def _quantity(process: pd.DataFrame) -> str:
    """Which memory of the process was recorded: its own, or its RSS."""
    return "own" if "own" in process else "rss"


def _process(process: pd.DataFrame) -> list[dict[str, Any]]:
    """Memory of the process, and of the device where anything was allocated on one."""
    on_device = bool((process["device_allocated"] > 0).any())
    quantities = (_quantity(process), *(["device_allocated"] if on_device else []))
    return [
        scatter(
            PROCESS,
            process["step"],
            process[quantity] / MIB,
            mode="lines",
            line={"color": colour("truth"), "width": 1.6, "dash": dash},
            name=_(QUANTITIES[quantity].label),
            hovertemplate=hover("step", quantity),
        )
        for quantity, dash in zip(quantities, ("solid", "dot"), strict=False)
    ]


def _limit(limit_mib: float) -> dict[str, Any]:
    """The memory limit as a line across the first panel."""
    return {
        "type": "line",
        "xref": "x domain",
        "x0": 0,
        "x1": 1,
        "yref": "y",
        "y0": limit_mib,
        "y1": limit_mib,
        "line": {"color": colour("wrong"), "width": 1.5, "dash": "dash"},
    }


@figure("memory/kept", N_("What the running statistics keep alive"))
def kept(run: RunView, _chosen: Selection) -> Card:
    """What running statistics keep alive, and the process."""
    found = {v: memory_curves(run.history, v) for v in run.config.variants}
    parts = [
        _("{label} keeps {bytes:,.1f} MiB and {nodes:,} graph nodes alive.").format(
            label=run.labels[v],
            bytes=frame["kept_bytes"].iloc[-1] / MIB,
            nodes=int(frame["graph_nodes"].iloc[-1]),
        )
        for v, frame in found.items()
        if len(frame)
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
