"""Running statistics converging: batch values, the layer's own line, a replay."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from bnviz.figures.panels import event_marks, figure, stacked
from bnviz.figures.theme import DASH, axis, colour, hover
from bnviz.i18n import _


def running_statistics(
    series: Mapping[str, Mapping[str, np.ndarray]],
    labels: Mapping[str, str],
    replay_label: str,
    events: Sequence[Mapping[str, Any]],
    total_steps: int,
) -> go.Figure:
    """Running mean above, running variance below, for one channel of each variant.

    `series`: per variant the arrays step, batch_mean, batch_var, running_mean, running_var,
    replay_mean, replay_var, all of shape (points,).
    """
    data: list[dict[str, Any]] = []
    for k, statistic in enumerate(("mean", "var")):
        place = {"xaxis": "x" if k == 0 else "x2", "yaxis": "y" if k == 0 else "y2"}
        for variant, values in series.items():
            x = values["step"].astype(np.float32)
            group = {"legendgroup": variant, **place}
            data.append(
                {
                    "type": "scatter",
                    "x": x,
                    "y": values[f"batch_{statistic}"].astype(np.float32),
                    "mode": "markers",
                    "marker": {"size": 3, "color": colour(variant, 0.35)},
                    "name": _("{label}: each batch").format(label=labels[variant]),
                    "showlegend": False,
                    "hovertemplate": hover("step", statistic),
                    **group,
                }
            )
        for variant, values in series.items():
            x = values["step"].astype(np.float32)
            data.append(
                {
                    "type": "scatter",
                    "x": x,
                    "y": values[f"running_{statistic}"].astype(np.float32),
                    "mode": "lines",
                    "line": {"color": colour(variant), "dash": DASH[variant], "width": 2.4},
                    "name": labels[variant],
                    "showlegend": k == 0,
                    "hovertemplate": hover("step", statistic),
                    "legendgroup": variant,
                    **place,
                }
            )
        data.extend(
            {
                "type": "scatter",
                "x": series[variant]["step"].astype(np.float32),
                "y": series[variant][f"replay_{statistic}"].astype(np.float32),
                "mode": "lines",
                "line": {"color": colour("replay", 0.85), "dash": "dot", "width": 1.8},
                "name": replay_label,
                "legendgroup": "replay",
                "showlegend": k == 0,
                "hovertemplate": hover("step", statistic),
                **place,
            }
            for variant in list(series)[-1:]
        )
    layout = stacked(
        [axis("mean"), axis("var", rangemode="tozero")],
        axis("step", range=[0, total_steps] if total_steps else None),
    )
    return figure(data, {**layout, **event_marks(events, 2)})
