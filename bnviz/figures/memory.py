"""What the running statistics keep alive, and the process around it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from bnviz.figures.panels import event_marks, figure, stacked
from bnviz.figures.theme import DASH, QUANTITIES, axis, colour, hover
from bnviz.i18n import _

MIB = 2**20


def memory_over_steps(
    kept: Mapping[str, pd.DataFrame],
    process: pd.DataFrame,
    labels: Mapping[str, str],
    events: Sequence[Mapping[str, Any]],
    total_steps: int,
    limit_mib: float,
) -> go.Figure:
    """Tensor bytes kept, graph nodes, memory of the process (and of the device where there is one).

    `kept`: per variant the columns step, kept_bytes, graph_nodes. `process`: step, rss,
    device_allocated (bytes).
    """
    data: list[dict[str, Any]] = []
    for k, (quantity, unit) in enumerate((("kept_bytes", MIB), ("graph_nodes", 1000))):
        for variant, frame in kept.items():
            data.append(
                {
                    "type": "scatter",
                    "x": frame["step"].to_numpy(np.float32),
                    "y": (frame[quantity] / unit).to_numpy(np.float32),
                    "xaxis": f"x{k + 1}" if k else "x",
                    "yaxis": f"y{k + 1}" if k else "y",
                    "mode": "lines",
                    "line": {
                        "color": colour(variant),
                        "dash": DASH[variant],
                        "width": 2,
                        "shape": "hv",
                    },
                    "name": labels[variant],
                    "legendgroup": variant,
                    "showlegend": k == 0,
                    "hovertemplate": hover("step", quantity),
                }
            )
    on_device = bool(len(process)) and bool((process["device_allocated"] > 0).any())
    for quantity, dash in (
        ("rss", "solid"),
        *((("device_allocated", "dot"),) if on_device else ()),
    ):
        data.append(
            {
                "type": "scatter",
                "x": process["step"].to_numpy(np.float32),
                "y": (process[quantity] / MIB).to_numpy(np.float32),
                "xaxis": "x3",
                "yaxis": "y3",
                "mode": "lines",
                "line": {"color": colour("truth"), "width": 1.6, "dash": dash},
                "name": _(QUANTITIES[quantity].label),
                "hovertemplate": hover("step", quantity),
            }
        )
    top = max((float(f["kept_bytes"].max()) / MIB for f in kept.values() if len(f)), default=0.0)
    layout = stacked(
        [
            axis("kept_bytes", range=[0, max(1.0, 1.15 * top)]),
            axis("graph_nodes", rangemode="tozero"),
            axis("rss", rangemode="tozero"),
        ],
        axis("step", range=[0, total_steps] if total_steps else None),
        gap=0.09,
    )
    marks = event_marks(events, 3)
    if top > 0.5 * limit_mib:
        marks["shapes"].append(
            {
                "type": "line",
                "xref": "x domain",
                "x0": 0,
                "x1": 1,
                "y0": limit_mib,
                "y1": limit_mib,
                "yref": "y",
                "line": {"color": colour("wrong"), "width": 1.5, "dash": "dash"},
            }
        )
    return figure(data, {**layout, **marks})
