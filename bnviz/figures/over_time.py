"""Activations over the steps: heatmaps with quantile bands, and how far distributions move."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bnviz.figures.panels import Figure, domains, event_marks, figure, scatter, stacked, suffix
from bnviz.figures.theme import DASH, axis, colour, hover
from bnviz.i18n import _

# Level of a line (0 to 1): its width and dash. The legend names them once.
BANDS = {
    0.01: (0.8, "dot"),
    0.05: (1.0, "dash"),
    0.25: (1.2, "solid"),
    0.5: (2.4, "solid"),
    0.75: (1.2, "solid"),
    0.95: (1.0, "dash"),
    0.99: (0.8, "dot"),
}


def heatmaps_over_steps(
    stages: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
    edges: np.ndarray,
    labels: Mapping[str, str],
    chosen: int | None,
) -> Figure:
    """One panel a variant: shares of the values by step, with quantiles as lines, one shared axis.

    `stages`: per variant steps (probes,), shares (0 to 1) of shape (probes, bins) and quantiles at
    the levels of BANDS (probes, 7). `edges` (bins + 1,). `chosen` is a step to mark.
    """
    margin = {"l": 48, "r": 10, "t": 26, "b": 40}  # room for the names above the panels
    layout: dict[str, Any] = {"annotations": [], "shapes": [], "margin": margin}
    data: list[dict[str, Any]] = []
    middle = (edges[1:] + edges[:-1]) / 2
    for k, (variant, (steps, shares, quantiles)) in enumerate(stages.items()):
        across = domains(len(stages), 0.05)[k]
        layout[f"xaxis{suffix(k)}"] = {**axis("step"), "domain": across, "anchor": f"y{suffix(k)}"}
        layout[f"yaxis{suffix(k)}"] = {
            **(axis("value") if k == 0 else {"showticklabels": False}),
            "range": [float(edges[0]), float(edges[-1])],
            "anchor": f"x{suffix(k)}",
            **({} if k == 0 else {"matches": "y"}),
        }
        data.append(
            {
                "type": "heatmap",
                "x": steps.astype(np.int32),
                "y": middle.astype(np.float32),
                "z": (100 * shares.T).astype(np.float32),
                "xaxis": f"x{suffix(k)}",
                "yaxis": f"y{suffix(k)}",
                # As the square root, which lets thin tails be seen beside the peak.
                "colorscale": [[t * t, colour(variant, 0.85 * t)] for t in (0, 0.25, 0.5, 0.75, 1)],
                "showscale": False,
                "hoverinfo": "skip",
                "name": labels[variant],
            }
        )
        data += [
            scatter(
                k,
                steps,
                quantiles[:, j],
                mode="lines",
                line={"color": colour("truth", 0.8), "width": width, "dash": dash},
                name=_("{level:.0%} of the values are below").format(level=level),
                legendgroup=str(level),
                showlegend=False,
                hovertemplate=hover("step", "value"),
            )
            for j, (level, (width, dash)) in enumerate(BANDS.items())
        ]
        layout["annotations"].append(
            {
                "text": labels[variant],
                "x": across[0],
                "y": 1,
                "xref": "paper",
                "yref": "paper",
                "xanchor": "left",
                "yanchor": "bottom",
                "showarrow": False,
            }
        )
        if chosen is not None:
            layout["shapes"].append(
                {
                    "type": "line",
                    "x0": chosen,
                    "x1": chosen,
                    "xref": f"x{suffix(k)}",
                    "y0": 0,
                    "y1": 1,
                    "yref": "paper",
                    "line": {"color": colour("event"), "width": 1.5},
                }
            )
    return figure(data, layout)


def drift_over_steps(
    drifts: Mapping[str, pd.DataFrame],
    labels: Mapping[str, str],
    events: Sequence[Mapping[str, Any]],
) -> Figure:
    """How far a layer's inputs moved since the probe before, and how far they are from the last.

    `drifts`: per variant what `bnviz.analysis.drift.drift` returns.
    """
    data = [
        scatter(
            panel,
            frame["step"],
            frame[quantity],
            mode="lines",
            line={"color": colour(variant), "dash": DASH[variant], "width": 2},
            name=labels[variant],
            legendgroup=variant,
            showlegend=panel == 0,
            hovertemplate=hover("step", quantity),
        )
        for panel, quantity in enumerate(("moved", "to_last"))
        for variant, frame in drifts.items()
    ]
    layout = stacked(
        [axis("moved", rangemode="tozero"), axis("to_last", rangemode="tozero")],
        axis("step", rangemode="tozero"),
    )
    return figure(data, {**layout, **event_marks(events)})
