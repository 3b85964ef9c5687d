"""Running statistics converging: batch values, the layer's own line, a replay."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from bnviz.figures.panels import event_marks, figure, stacked, suffix
from bnviz.figures.theme import DASH, axis, colour, hover
from bnviz.i18n import _


def running_statistics(
    series: Mapping[tuple[str, int], Mapping[str, np.ndarray]],
    labels: Mapping[str, str],
    replay_label: str,
    events: Sequence[Mapping[str, Any]],
    total_steps: int,
) -> go.Figure:
    """Running mean above, running variance below, for some channels of each variant.

    `series`: per variant and channel the arrays step, batch_mean, batch_var, running_mean,
    running_var, replay_mean, replay_var, all of shape (points,). The replay is drawn for the last
    variant.
    """
    data: list[dict[str, Any]] = []
    replayed = list(series)[-1][0] if series else None
    channels = {channel for _variant, channel in series}
    for k, statistic in enumerate(("mean", "var")):
        traces = []
        for (variant, channel), values in series.items():
            name = labels[variant]
            if len(channels) > 1:
                name = _("{label}, channel {channel}").format(label=name, channel=channel)
            first = channel == min(channels)
            dots = {
                "mode": "markers",
                "marker": {"size": 3, "color": colour(variant, 0.35)},
                "name": _("{name}: each batch").format(name=name),
                "legendgroup": variant,
                "showlegend": False,
            }
            line = {
                "mode": "lines",
                "line": {"color": colour(variant), "dash": DASH[variant], "width": 2.4},
                "name": name if k else labels[variant],
                "legendgroup": variant,
                "showlegend": k == 0 and first,
            }
            traces += [(0, "batch", values, dots), (1, "running", values, line)]
            if variant == replayed:
                dotted = {
                    "mode": "lines",
                    "line": {"color": colour("replay", 0.85), "dash": "dot", "width": 1.8},
                    "name": replay_label,
                    "legendgroup": "replay",
                    "showlegend": k == 0 and first,
                }
                traces.append((2, "replay", values, dotted))
        data.extend(
            {
                "type": "scatter",
                "x": values["step"].astype(np.float32),
                "y": values[f"{source}_{statistic}"].astype(np.float32),
                "xaxis": f"x{suffix(k)}",
                "yaxis": f"y{suffix(k)}",
                "hovertemplate": hover("step", statistic),
                **style,
            }
            for _layer, source, values, style in sorted(traces, key=lambda trace: trace[0])
        )
    layout = stacked(
        [axis("mean"), axis("var", rangemode="tozero")],
        axis("step", range=[0, total_steps] if total_steps else None),
    )
    return figure(data, {**layout, **event_marks(events, 2)})
