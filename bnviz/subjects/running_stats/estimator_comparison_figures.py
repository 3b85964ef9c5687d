"""Which running statistics are best: estimators beside the population, and what they cost."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bnviz.charts.marks import Figure, drawing, event_marks, scatter, stacked, suffix
from bnviz.charts.theme import DASH, axis, colour, hover
from bnviz.i18n import _, lines

# Estimator to colour, dash and width; the layer's own line has its variant's.
ESTIMATORS: dict[str, tuple[str, str, float]] = {
    "ema": ("replay", "solid", 2.0),
    "corrected": ("replay", "dot", 2.0),
    "average": ("average", "dash", 2.0),
}


def estimator_label(name: str, momentum: float) -> str:
    """What the legend calls an estimator."""
    return {
        "ema": _("EMA at m = {m:g}").format(m=momentum),
        "corrected": _("bias-corrected EMA"),
        "average": _("plain mean of all batches"),
    }[name]


Channels = Mapping[int, Mapping[str, np.ndarray]]
_DOTS = {"mode": "markers", "marker": {"size": 3.5, "color": colour("batch", 0.6)}}


def estimates_over_steps(
    channels: Channels,
    population: pd.DataFrame,
    variant: str,
    label: str,
    momentum: float,
    events: Sequence[Mapping[str, Any]],
) -> Figure:
    """Some channels: batches, the layer's own running values, replayed estimators, the population.

    `channels`: by channel the arrays (points,) step, running_mean, running_var and, for each of
    ESTIMATORS, <name>_mean and <name>_var, and the batches (dots,) batch_mean and batch_var at
    the steps batch_mean_step and batch_var_step. `population`: columns step,
    channel, mean, var. The legend has one entry an estimator; where there are several channels,
    each says its number at its end.
    """
    data = [
        trace
        for panel, statistic in enumerate(("mean", "var"))
        for trace in _estimates(panel, statistic, channels, population, variant, label, momentum)
    ]
    layout = stacked(
        [axis("mean"), axis("var", rangemode="tozero")], axis("step", rangemode="tozero")
    )
    marks = event_marks(events)
    marks["annotations"] += _channel_names(channels, variant)
    return drawing(data, {**layout, **marks})


REPLAYED = ("ema", "corrected")
"""The estimators that a momentum is chosen for."""


def _estimates(
    panel: int,
    statistic: str,
    channels: Channels,
    population: pd.DataFrame,
    variant: str,
    label: str,
    momentum: float,
) -> list[dict[str, Any]]:
    """The traces of one panel: kind by kind, channel by channel."""
    looks = {
        "batch": (_("each batch"), _DOTS),
        **{
            name: (estimator_label(name, momentum), _line(shade, dash, width))
            for name, (shade, dash, width) in ESTIMATORS.items()
        },
        "running": (
            _("{label}: its own").format(label=label),
            _line(variant, DASH[variant], 2.4),
        ),
        "population": (_("population at frozen weights"), _diamonds()),
    }
    traces = []
    for kind, (name, look) in looks.items():
        for channel, series in channels.items():
            rows = population[population["channel"] == channel]
            x: Any = series.get(f"{kind}_{statistic}_step", series["step"])
            y: Any = series.get(f"{kind}_{statistic}")
            if kind == "population":
                x, y = rows["step"], rows[statistic]
            traces.append(
                scatter(
                    panel,
                    x,
                    y,
                    name=name,
                    legendgroup=kind,
                    showlegend=panel == 0 and channel == next(iter(channels)),
                    hovertemplate=lines(
                        _("channel {channel}").format(channel=channel), hover("step", statistic)
                    ),
                    **look,
                )
            )
    return traces


def _line(shade: str, dash: str, width: float) -> dict[str, Any]:
    return {"mode": "lines", "line": {"color": colour(shade), "dash": dash, "width": width}}


def _diamonds() -> dict[str, Any]:
    return {
        "mode": "markers",
        "marker": {"symbol": "diamond-open", "size": 11, "color": colour("truth")},
    }


def _channel_names(channels: Channels, variant: str) -> list[dict[str, Any]]:
    """The number of each channel at the end of its own lines, where there are several."""
    return [
        {
            "text": str(channel),
            "x": float(series["step"][-1]),
            "y": float(series[f"running_{statistic}"][-1]),
            "xref": f"x{suffix(panel)}",
            "yref": f"y{suffix(panel)}",
            "xanchor": "left",
            "yanchor": "middle",
            "xshift": 3,
            "showarrow": False,
            "font": {"color": colour(variant)},
        }
        for panel, statistic in enumerate(("mean", "var"))
        for channel, series in channels.items()
        if len(channels) > 1
        and len(series["step"])
        and np.isfinite(series[f"running_{statistic}"][-1])
    ]


def accuracy_over_momentum(
    curve: pd.DataFrame,
    references: Mapping[str, float],
    chosen: tuple[float, float],
    own: tuple[float | None, float],
    variant: str,
) -> Figure:
    """Test accuracy in eval mode of one set of weights with the statistics of each momentum.

    `curve`: columns momentum (above 0, ascending) and accuracy (0 to 1). `references`: accuracy by
    name, drawn as lines across. `chosen`: momentum and accuracy of the reader's choice; `own`: those
    of the run, which has no place on the axis where its average was cumulative.
    """
    ends = [float(curve["momentum"].min()), float(curve["momentum"].max())]
    styles = (("truth", "solid"), ("truth", "dot"), ("average", "dash"))
    data = [
        scatter(
            0,
            ends,
            [100 * accuracy] * 2,
            mode="lines",
            line={"color": colour(shade), "dash": dash, "width": 1.8},
            name=name,
            hovertemplate=hover("momentum", "accuracy"),
        )
        for (name, accuracy), (shade, dash) in zip(references.items(), styles, strict=True)
    ]
    data += [
        scatter(
            0,
            curve["momentum"],
            100 * curve["accuracy"],
            mode="lines+markers",
            line={"color": colour(variant), "width": 2.4},
            marker={"size": 7},
            name=_("EMA"),
            hovertemplate=hover("momentum", "accuracy"),
        ),
        *(
            scatter(
                0,
                [momentum],
                [100 * accuracy],
                mode="markers",
                marker={
                    "symbol": symbol,
                    "size": 17,
                    "color": colour("event"),
                    "line": {"width": 3},
                },
                name=name,
                hovertemplate=hover("momentum", "accuracy"),
            )
            for (momentum, accuracy), symbol, name in (
                (chosen, "circle-open", _("the slider")),
                (own, "diamond-open", _("the run's own")),
            )
            if momentum
        ),
    ]
    return drawing(data, {"xaxis": axis("momentum", type="log"), "yaxis": axis("accuracy")})


def errors_over_steps(errors: pd.DataFrame, names: Mapping[str, str], variant: str) -> Figure:
    """Distance of each estimator from the population at the checkpoints, mean above variance.

    `errors`: columns step, estimator (keys of `names`), mean_error (in standard deviations of the
    channel), var_error (relative, 0 to 1). Both are root mean squares over the channels of a layer.
    """
    styles = {
        "own": (variant, DASH[variant], 2.4),
        "one_pass": ("truth", "longdash", 2.0),
        **ESTIMATORS,
    }
    data = [
        scatter(
            panel,
            rows["step"],
            rows[quantity] * (100 if quantity == "var_error" else 1),
            mode="lines+markers",
            line={"color": colour(styles[name][0]), "dash": styles[name][1], "width": 2},
            marker={"size": 7},
            name=label,
            legendgroup=name,
            showlegend=panel == 0,
            hovertemplate=hover("step", quantity),
        )
        for panel, quantity in enumerate(("mean_error", "var_error"))
        for name, label in names.items()
        for rows in [errors[errors["estimator"] == name]]
    ]
    layout = stacked(
        [axis("mean_error", rangemode="tozero"), axis("var_error", rangemode="tozero")],
        axis("step", rangemode="tozero"),
    )
    for panel in range(2):
        layout[f"xaxis{suffix(panel)}"]["autorange"] = True
    return drawing(data, layout)


def first_steps(
    steps: np.ndarray, batch_var: np.ndarray, started: Mapping[float, np.ndarray]
) -> Figure:
    """Running variance of one channel over the first steps, by the value that it started at.

    `steps` and `batch_var` of shape (steps,); `started` maps a start value to the running variance
    after each step.
    """
    data = [
        scatter(
            0,
            steps,
            batch_var,
            mode="markers",
            marker={"size": 4, "color": colour("batch", 0.7)},
            name=_("each batch"),
            hovertemplate=hover("step", "var"),
        )
    ]
    data += [
        scatter(
            0,
            steps,
            values,
            mode="lines",
            line={"color": colour(shade), "dash": dash, "width": 2.2},
            name=_("initial value {start:g}").format(start=start),
            hovertemplate=hover("step", "var"),
        )
        for (start, values), (shade, dash) in zip(
            started.items(), (("replay", "solid"), ("average", "dash")), strict=True
        )
    ]
    return drawing(data, {"xaxis": axis("step"), "yaxis": axis("var", rangemode="tozero")})


def share_of_eps(shares: np.ndarray, variant: str) -> Figure:
    """How much of var + eps is eps, channel by channel; `shares` (channels,) from 0 to 1."""
    return drawing(
        [
            {
                "type": "bar",
                "x": np.arange(len(shares), dtype=np.int32),
                "y": (100 * shares).astype(np.float32),
                "marker": {"color": colour(variant, 0.8)},
                "name": _("share of eps"),
                "showlegend": False,
                "hovertemplate": hover("channel", "eps_share"),
            }
        ],
        {
            "xaxis": axis("channel"),
            "yaxis": axis("eps_share", rangemode="tozero"),
            "bargap": 0.2,
        },
    )
