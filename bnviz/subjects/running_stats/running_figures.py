"""Running statistics converging: batch values, the layer's own line, a replay."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bnviz.charts.applies import bn_figure
from bnviz.charts.card import HEIGHT, Card
from bnviz.charts.formatting import diverged, no_steps_yet
from bnviz.charts.marks import Figure, drawing, event_marks, one_entry, scatter, stacked
from bnviz.charts.theme import axis, colour, from_zero, hover, own_stroke, stroke
from bnviz.i18n import N_, _, lines
from bnviz.nn.variants import VARIANTS
from bnviz.selection import Selection
from bnviz.training.run_view import RunView, running_view

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
    layout = stacked([axis("mean"), from_zero("var")], from_zero("step"))
    return drawing(data, {**layout, **event_marks(events)})


def _traces(
    series: Series,
    labels: Mapping[str, str],
    panel: int,
    source: str,
    statistic: str,
    replay_label: str,
) -> Iterator[dict[str, Any]]:
    """One kind of trace for every variant and channel; one legend entry a variant."""
    for (variant, channel), values in series.items():
        label, group = labels[variant], variant
        if source == "replay":
            label, group = replay_label, source
            if variant != list(series)[-1][0]:
                continue
        named = _("{label}, channel {channel}").format(label=label, channel=channel)
        first = panel == 0 and source != "batch" and channel == next(iter(series))[1]
        yield scatter(
            panel,
            values.get(f"{source}_{statistic}_step", values["step"]),
            values[f"{source}_{statistic}"],
            hovertemplate=lines(named, hover("step", statistic)),
            meta={
                "series": _("{name}, each batch").format(name=named) if source == "batch" else named
            },
            **one_entry(label, group, shown=first),
            **_style(source, variant),
        )


def _style(source: str, variant: str) -> dict[str, Any]:
    if source == "batch":
        return {"mode": "markers", "marker": {"size": 3.5, "color": colour(variant, 0.4)}}
    replayed = source == "replay"
    line = stroke("replay", "dot", 1.8, 0.85) if replayed else own_stroke(variant, 2.4)
    return {"mode": "lines", "line": line}


@bn_figure(
    "running_stats/running",
    N_("Running statistics and the batches they average"),
    needs=("layer", "channels", "momentum"),
)
def running(run: RunView, chosen: Selection) -> Card:
    """Running statistics of some channels: batches, the layer's own line, a replay."""
    layer, momentum = chosen.layer, chosen.momentum
    channels = chosen.channels_of(layer)
    series: dict[tuple[str, int], dict[str, np.ndarray]] = {}
    for variant in run.config.variants:
        view = running_view(run, variant, layer, channels, (momentum,))
        found = view.series(momentum)
        if VARIANTS[variant].normalizes and view.rows:
            series |= {(variant, c): of for c, of in zip(channels, found, strict=True)}
    label = _("replay at m = {m:g}").format(m=momentum)
    return Card(
        key="running",
        title=_("Running statistics follow the batches: {layer}, channel {channels}").format(
            layer=layer, channels=", ".join(map(str, channels))
        ),
        figure=running_statistics(series, run.labels, label, run.history.events),
        sentence=_sentence(run, series, momentum),
        alt=_("Running mean and variance of channels over the steps with each batch's values"),
        height=HEIGHT,
        asked=f"{chosen}",
    )


def _sentence(run: RunView, series: Series, momentum: float) -> str:
    """On the mean of the last variant and channel."""
    if not series:
        return no_steps_yet()
    (variant, channel), values = list(series.items())[-1]
    return diverged(values["step"], values["running_mean"] + values["replay_mean"]) or _(
        "{label}, channel {channel}: the last batch means spread by ±{spread:.3f}; the running "
        "mean is {own:.3f}, at momentum {m:g} from the first step it would be {replay:.3f}."
    ).format(
        label=run.labels[variant],
        channel=channel,
        spread=float(np.std(values["recent_mean"])),
        own=values["running_mean"][-1],
        m=momentum,
        replay=values["replay_mean"][-1],
    )
