"""Running statistics converging: batch values, the layer's own line, a replay."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bnviz.charts.marks import Figure, event_marks, figure, scatter, stacked
from bnviz.charts.theme import DASH, axis, colour, hover
from bnviz.i18n import _

Series = Mapping[tuple[str, int], Mapping[str, np.ndarray]]


def running_statistics(
    series: Series,
    labels: Mapping[str, str],
    replay_label: str,
    events: Sequence[Mapping[str, Any]],
) -> Figure:
    """Running mean above, running variance below, for some channels of each variant.

    `series`: per variant and channel the arrays (points,) step, running_mean, running_var,
    replay_mean, replay_var, and the batches (dots,) batch_mean and batch_var at the steps
    batch_mean_step and batch_var_step. The replay is drawn for the last
    variant.
    """
    data = [
        trace
        for panel, statistic in enumerate(("mean", "var"))
        for source in ("batch", "running", "replay")  # dots below lines, the replay on top
        for trace in _traces(series, labels, panel, source, statistic, replay_label)
    ]
    layout = stacked(
        [axis("mean"), axis("var", rangemode="tozero")],
        axis("step", rangemode="tozero"),
    )
    return figure(data, {**layout, **event_marks(events)})


def _traces(
    series: Series,
    labels: Mapping[str, str],
    panel: int,
    source: str,
    statistic: str,
    replay_label: str,
) -> list[dict[str, Any]]:
    """One kind of trace for every variant and channel; one legend entry a variant."""
    if not series:
        return []
    replayed, (_variant, first) = list(series)[-1][0], next(iter(series))
    traces = []
    for (variant, channel), values in series.items():
        if source == "replay" and variant != replayed:
            continue
        label = replay_label if source == "replay" else labels[variant]
        traces.append(
            scatter(
                panel,
                values.get(f"{source}_{statistic}_step", values["step"]),
                values[f"{source}_{statistic}"],
                name=label,
                legendgroup=source if source == "replay" else variant,
                showlegend=panel == 0 and source != "batch" and channel == first,
                hovertemplate=_("{label}, channel {channel}").format(label=label, channel=channel)
                + "<br>"
                + hover("step", statistic),
                **_style(source, variant),
            )
        )
    return traces


def _style(source: str, variant: str) -> dict[str, Any]:
    if source == "batch":
        return {
            "mode": "markers",
            "marker": {"size": 3.5, "color": colour(variant, 0.4)},
        }
    line = {
        "running": {"color": colour(variant), "dash": DASH[variant], "width": 2.4},
        "replay": {"color": colour("replay", 0.85), "dash": "dot", "width": 1.8},
    }[source]
    return {"mode": "lines", "line": line}
