"""Running statistics of some channels while a run trains, as one card."""

from collections.abc import Sequence

import numpy as np

from bnviz.app.runs import RunView, running_view
from bnviz.charts.card import HEIGHT, Card
from bnviz.charts.formatting import diverged
from bnviz.i18n import _
from bnviz.nn.variants import VARIANTS
from bnviz.subjects.running_stats.running_figures import running_statistics


def running_card(run: RunView, layer: str, channels: Sequence[int], momentum: float | None) -> Card:
    """Running statistics of some channels: batches, the layer's own line, a replay."""
    series: dict[tuple[str, int], dict[str, np.ndarray]] = {}
    for variant in run.config.variants:
        view = running_view(run, variant, layer, tuple(channels), (momentum,))
        found = view.series(momentum)
        if VARIANTS[variant].normalizes and view.rows:
            series |= {(variant, c): of for c, of in zip(channels, found, strict=True)}
    sentence = _("Batch statistics come with the first ten steps.")
    if series:
        (variant, channel), values = list(series.items())[-1]
        sentence = diverged(values["step"], values["running_mean"] + values["replay_mean"]) or _(
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
    elif not any(VARIANTS[v].normalizes for v in run.config.variants):
        sentence = _("This run has no BN, so there are no running statistics.")
    return Card(
        key="running",
        title=_("Running statistics follow the batches: {layer}, channel {channels}").format(
            layer=layer, channels=", ".join(map(str, channels))
        ),
        figure=running_statistics(
            series,
            run.labels,
            _("replay at m = {m:g}").format(m=momentum),
            run.history.events,
        ),
        sentence=sentence,
        alt=_("Running mean and variance of channels over the steps with each batch's values"),
        height=HEIGHT,
        asked=f"{layer} {channels} {momentum}",
    )
