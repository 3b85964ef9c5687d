"""Which running statistics are best: estimators beside the population, and what they cost."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bnviz.charts.marks import (
    Figure,
    bars,
    curve,
    dots,
    drawing,
    event_marks,
    one_entry,
    scatter,
    stacked,
    suffix,
    words_at,
)
from bnviz.charts.theme import DASH, axis, colour, from_zero, hover, own_stroke, stroke
from bnviz.i18n import _, lines

# Estimator to colour, dash and width; the layer's own line has its variant's.
ESTIMATORS: dict[str, tuple[str, str, float]] = {
    "ema": ("replay", "solid", 2.0),
    "corrected": ("replay", "dot", 2.0),
    "average": ("average", "dash", 2.0),
}


def estimator_label(name: str, momentum: float) -> str:
    """What the legend calls one of ESTIMATORS."""
    return {
        "ema": _("EMA at m = {m:g}").format(m=momentum),
        "corrected": _("bias-corrected EMA"),
        "average": _("plain mean of all batches"),
    }[name]


Channels = Mapping[int, Mapping[str, np.ndarray]]
_DOTS = {"mode": "markers", "marker": {"size": 3.5, "color": colour("batch", 0.6)}}
_DIAMONDS = {
    "mode": "markers",
    "marker": {"symbol": "diamond-open", "size": 11, "color": colour("truth")},
}


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
    ESTIMATORS, <name>_mean and <name>_var, and the batches (dots,) batch_mean and batch_var at the
    steps batch_mean_step and batch_var_step. `population`: columns step, channel, mean, var. Where
    there are several channels, each says its number at its end.
    """
    looks = _looks(variant, label, momentum)
    data = [
        trace
        for panel, statistic in enumerate(("mean", "var"))
        for trace in _estimates(panel, statistic, channels, population, looks)
    ]
    layout = stacked([axis("mean"), from_zero("var")], from_zero("step"))
    marks = event_marks(events)
    marks["annotations"] += _channel_names(channels, variant)
    return drawing(data, {**layout, **marks})


def _looks(variant: str, label: str, momentum: float) -> dict[str, tuple[str, dict[str, Any]]]:
    """By kind its name in the legend and its looks, in the order of drawing."""
    replayed = {
        name: (estimator_label(name, momentum), {"mode": "lines", "line": stroke(*style)})
        for name, style in ESTIMATORS.items()
    }
    own = {"mode": "lines", "line": own_stroke(variant, 2.4)}
    return {
        "batch": (_("each batch"), _DOTS),
        **replayed,
        "running": (_("{label}: its own").format(label=label), own),
        "population": (_("population at frozen weights"), _DIAMONDS),
    }


def _estimates(
    panel: int,
    statistic: str,
    channels: Channels,
    population: pd.DataFrame,
    looks: Mapping[str, tuple[str, dict[str, Any]]],
) -> Iterator[dict[str, Any]]:
    """The traces of one panel: kind by kind, channel by channel."""
    first = next(iter(channels), None)
    for kind, (name, look) in looks.items():
        for channel, series in channels.items():
            x: Any = series.get(f"{kind}_{statistic}_step", series["step"])
            y: Any = series.get(f"{kind}_{statistic}")
            if kind == "population":
                rows = population[population["channel"] == channel]
                x, y = rows["step"], rows[statistic]
            named = _("channel {channel}").format(channel=channel)
            entry = one_entry(name, kind, shown=panel == 0 and channel == first)
            said = lines(named, hover("step", statistic))
            table = {"series": _("{name}, {channel}").format(name=name, channel=named)}
            yield scatter(panel, x, y, hovertemplate=said, meta=table, **entry, **look)


def _channel_names(channels: Channels, variant: str) -> list[dict[str, Any]]:
    """The number of each channel at the end of its own lines, where there are several."""
    if len(channels) < 2:
        return []
    ends = [
        (panel, channel, series["step"][-1], series[f"running_{statistic}"][-1])
        for panel, statistic in enumerate(("mean", "var"))
        for channel, series in channels.items()
        if len(series["step"])
    ]
    return [
        words_at(
            str(channel), float(x), float(y), (f"x{suffix(panel)}", f"y{suffix(panel)}"),
            ("left", "middle"), xshift=3, font={"color": colour(variant)},
        )
        for panel, channel, x, y in ends
        if np.isfinite(y)
    ]  # fmt: skip


def accuracy_over_momentum(
    curve_of: pd.DataFrame,
    references: Mapping[str, float],
    chosen: tuple[float, float],
    own: tuple[float | None, float],
    variant: str,
) -> Figure:
    """Test accuracy in eval mode of one set of weights with the statistics of each momentum.

    `curve_of`: columns momentum (above 0, ascending) and accuracy (0 to 1). `references`: accuracy
    by name, drawn as lines across. `chosen`: momentum and accuracy of the reader's choice; `own`:
    those of the run, which has no place on the axis where its average was cumulative.
    """
    shown = ("momentum", "accuracy")
    momenta, percent = curve_of["momentum"], 100 * curve_of["accuracy"]
    across = [float(momenta.min()), float(momenta.max())]
    styles = (("truth", "solid"), ("truth", "dot"), ("average", "dash"))
    data = [
        curve(0, across, [100 * accuracy] * 2, shown, stroke(*style, width=1.8), name=name)
        for (name, accuracy), style in zip(references.items(), styles, strict=True)
    ]
    line = stroke(variant, width=2.4)
    data.append(
        curve(0, momenta, percent, shown, line, mode="lines+markers", marker={"size": 7}, name=_("EMA"))
    )  # fmt: skip
    points = ((chosen, "circle-open", _("the slider")), (own, "diamond-open", _("the run's own")))
    marker = {"size": 17, "color": colour("event"), "line": {"width": 3}}
    data += [
        dots(0, [momentum], [100 * accuracy], shown, {**marker, "symbol": symbol}, name=name)
        for (momentum, accuracy), symbol, name in points
        if momentum
    ]
    return drawing(data, {"xaxis": axis("momentum", type="log"), "yaxis": axis("accuracy")})


def errors_over_steps(errors: pd.DataFrame, names: Mapping[str, str], variant: str) -> Figure:
    """Distance of each estimator from the population at the checkpoints, mean above variance.

    `errors`: columns step, estimator (keys of `names`), mean_error (in standard deviations of the
    channel), var_error (relative, 0 to 1). Both are root mean squares over the channels of a layer.
    """
    shades = {"own": (variant, DASH[variant]), "one_pass": ("truth", "longdash")}
    shades |= {name: (shade, dash) for name, (shade, dash, _width) in ESTIMATORS.items()}
    looks = {"mode": "lines+markers", "marker": {"size": 7}}
    data = []
    for panel, (quantity, factor) in enumerate((("mean_error", 1), ("var_error", 100))):
        for name, label in names.items():
            rows, line = errors[errors["estimator"] == name], stroke(*shades[name])
            entry, shown = one_entry(label, name, shown=panel == 0), ("step", quantity)
            size = factor * rows[quantity]
            data.append(curve(panel, rows["step"], size, shown, line, **looks, **entry))
    layout = stacked([from_zero("mean_error"), from_zero("var_error")], from_zero("step"))
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
    shown, styles = ("step", "var"), (("replay", "solid"), ("average", "dash"))
    marker = {"size": 4, "color": colour("batch", 0.7)}
    data = [dots(0, steps, batch_var, shown, marker, name=_("each batch"))]
    for (start, values), style in zip(started.items(), styles, strict=True):
        name = _("initial value {start:g}").format(start=start)
        data.append(curve(0, steps, values, shown, stroke(*style, width=2.2), name=name))
    return drawing(data, {"xaxis": axis("step"), "yaxis": from_zero("var")})


def share_of_eps(shares: np.ndarray, variant: str) -> Figure:
    """How much of var + eps is eps, channel by channel; `shares` (channels,) from 0 to 1."""
    bar = bars(
        np.arange(len(shares), dtype=np.int32),
        (100 * shares).astype(np.float32),
        colour(variant, 0.8),
        name=_("share of eps"),
        hovertemplate=hover("channel", "eps_share"),
    )
    scales = {"xaxis": axis("channel"), "yaxis": from_zero("eps_share")}
    return drawing([bar], {**scales, "bargap": 0.2})
