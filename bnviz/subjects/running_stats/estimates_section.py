"""One or a few channels over the steps: batches, the layer's own line, replays, the population."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
import streamlit as st

from bnviz.app.runs import RunView, running_view, with_statistics
from bnviz.app.state import SLIDER_MOMENTA, answered_by, layer_control, redraw, with_value
from bnviz.charts.card import HEIGHT, Card, Preview
from bnviz.charts.formatting import diverged
from bnviz.charts.marks import Figure
from bnviz.i18n import N_, _
from bnviz.nn.variants import VARIANTS
from bnviz.records import moving_averages
from bnviz.records.recorded_statistics import starting_statistics, unbiasing, values_per_channel
from bnviz.records.running_view import RunningView
from bnviz.records.schema import LAYERS
from bnviz.subjects.running_stats.estimator_comparison import EstimatorComparison
from bnviz.subjects.running_stats.estimator_comparison_figures import (
    at_momentum,
    estimates_over_steps,
)

MOST_CHANNELS = 3
MOST_PREVIEWED = 12
"""Values of the slider whose lines are sent ahead, at one channel."""
VARIANCES = UNBIASED, BIASED = N_("unbiased"), N_("biased")


@dataclass(frozen=True)
class Choice:
    """What the reader looks at."""

    variant: str
    layer: str
    channels: tuple[int, ...]
    momentum: float
    eps: float
    unbiased: bool = True
    """Whether the variances shown are divided by n - 1."""

    @property
    def channel(self) -> int:
        """The first channel, of which sentences speak."""
        return self.channels[0]


@st.fragment
def controls(run: RunView, *, answers: str, others: list[str]) -> None:
    """Variant, layer, channels and which variance; `answers` is the key of the fragment with them.

    The fragments of the keys `others` answer to the variant only.
    """
    changed = answered_by(answers)
    variants = with_statistics(run)
    if st.session_state.get("stats_variant") not in variants:
        st.session_state.pop("stats_variant", None)
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        st.segmented_control(
            _("Variant"), variants, default=variants[-1], required=True, key="stats_variant",
            bind="query-params", format_func=lambda v: _(VARIANTS[v].label),
            on_change=partial(redraw, [answers, *others]),
            help=_("Whose weights and batches are used."),
        )  # fmt: skip
        layer_control("stats_layer", "conv2", changed)
        st.multiselect(
            _("Channels"), range(max(LAYERS.values())), default=[0], key="stats_channels",
            bind="query-params", width=220, max_selections=MOST_CHANNELS, on_change=changed,
            help=_(
                "Counted from 0, up to {most}; a layer with fewer channels shows its last. "
                "Sentences speak of the first."
            ).format(most=MOST_CHANNELS),
        )  # fmt: skip
        _variance_control(run, changed)


def _variance_control(run: RunView, changed: Callable[[], None]) -> None:
    """Which variance is shown. A link has the words of the screen, so they are short."""
    factors = "; ".join(
        _("{layer}: n = {n:,}, factor {factor:.5g}").format(
            layer=layer,
            n=values_per_channel(run.config, layer),
            factor=unbiasing(run.config, layer),
        )
        for layer in LAYERS
    )
    st.segmented_control(
        _("Variance kept"), VARIANCES, default=UNBIASED, required=True, key="stats_variance",
        bind="query-params", format_func=_, on_change=changed,
        help=_(
            "Biased, as the batch is normalized by, divides the sum of squares by n, the number of "
            "values of a channel in the batch; unbiased, as torch keeps it, by n − 1, so it is "
            "n / (n − 1) times as large (a single value has no variance). At batch {batch}, {factors}. Acts on the lines, dots and "
            "population of the first figure; the layer's own line stays what it kept."
        ).format(batch=run.config.batch_size, factors=factors),
    )  # fmt: skip


def chosen_variant(run: RunView) -> str:
    """The variant that the control says."""
    variant, able = st.session_state["stats_variant"], with_statistics(run)
    return variant if variant in able else able[-1]


def choice(run: RunView) -> Choice:
    """What the controls and the sliders say, once both are drawn."""
    chosen = st.session_state
    layer = chosen["stats_layer"]
    channels = dict.fromkeys(min(c, LAYERS[layer] - 1) for c in chosen["stats_channels"])
    return Choice(
        chosen_variant(run),
        layer,
        tuple(channels) or (0,),
        chosen["momentum"],
        chosen["eps"],
        chosen["stats_variance"] == UNBIASED,
    )


def estimates_card(run: RunView, chosen: Choice, found: EstimatorComparison | None) -> Card:
    """Batches, the layer's own line, replays and, once measured, the population."""
    channels = _channels(run, chosen)
    figure = estimates_over_steps(
        channels,
        _population(run, chosen, found),
        chosen.variant,
        run.labels[chosen.variant],
        chosen.momentum,
        run.history.events,
    )
    return Card(
        key="estimates",
        title=_("Which line follows the truth? {layer}, channel {channels}").format(
            layer=chosen.layer, channels=", ".join(map(str, chosen.channels))
        ),
        figure=figure,
        sentence=_sentence(run, channels[chosen.channel], chosen),
        alt=_("Running mean and variance of channels by several estimators over the steps"),
        height=HEIGHT + 60,
        asked=f"{chosen} {found and found.step}",
        wide=True,
        follows="momentum",
        previews=_previews(run, chosen, channels, figure),
    )


def _channels(run: RunView, chosen: Choice) -> dict[int, dict[str, np.ndarray]]:
    """What `estimates_over_steps` draws of each chosen channel."""
    view = _view(run, chosen)
    own, average = view.series(chosen.momentum), view.replays(None)
    replayed = _replayed(run, chosen, chosen.momentum)
    factor = {"mean": 1.0, "var": unbiasing(run.config, chosen.layer) if chosen.unbiased else 1.0}
    result = {}
    for channel, mine, plain in zip(chosen.channels, own, average, strict=True):
        series = result[channel] = {"step": mine["step"], **replayed[channel]}
        for statistic in ("mean", "var"):
            series |= {
                f"batch_{statistic}": factor[statistic] * mine[f"batch_{statistic}"],
                f"batch_{statistic}_step": mine[f"batch_{statistic}_step"],
                f"last_{statistic}": factor[statistic] * mine[f"recent_{statistic}"][-1:],
                f"running_{statistic}": mine[f"running_{statistic}"],
                f"average_{statistic}": plain[f"replay_{statistic}"],
            }
    return result


def _view(run: RunView, chosen: Choice) -> RunningView:
    """The chosen channels with replays at every value of the slider and the plain mean."""
    momenta = (*with_value(SLIDER_MOMENTA, chosen.momentum), None)
    where = (run, chosen.variant, chosen.layer, chosen.channels)
    return running_view(*where, momenta, unbiased=chosen.unbiased)


def _replayed(run: RunView, chosen: Choice, momentum: float) -> dict[int, dict[str, np.ndarray]]:
    """By channel the EMA at `momentum` and the same freed from its start."""
    starts = starting_statistics(run.config, chosen.variant)
    found = _view(run, chosen).replays(momentum)
    result: dict[int, dict[str, np.ndarray]] = {}
    for channel, series in zip(chosen.channels, found, strict=True):
        own = result[channel] = {}
        for statistic, start in (("mean", starts[0]), ("var", starts[1])):
            ema = own[f"ema_{statistic}"] = series[f"replay_{statistic}"]
            own[f"corrected_{statistic}"] = moving_averages.corrected(
                ema, momentum, start, series["step"]
            )
    return result


def _previews(
    run: RunView, chosen: Choice, channels: dict[int, dict[str, np.ndarray]], figure: Figure
) -> dict[str, Preview]:
    """The figure at the other values of the slider, the nearest ones: what a tick sends is bounded."""
    options = with_value(SLIDER_MOMENTA, chosen.momentum)
    place, reach = options.index(chosen.momentum), MOST_PREVIEWED // (2 * len(chosen.channels))
    result = {}
    for momentum in options[max(place - reach, 0) : place + reach + 1]:
        replayed = _replayed(run, chosen, momentum)
        first = channels[chosen.channel] | replayed[chosen.channel]
        result[f"{momentum:g}"] = Preview(
            at_momentum(figure, replayed, momentum),
            _sentence(run, first, replace(chosen, momentum=momentum)),
        )
    return result


def _population(run: RunView, chosen: Choice, found: EstimatorComparison | None) -> pd.DataFrame:
    """Columns step, channel, mean, var; the variance by the chosen divisor, with its own n."""
    columns = ["step", "channel", "mean", "var"]
    if found is None:
        return pd.DataFrame(columns=columns)
    positions = values_per_channel(run.config, chosen.layer) // run.config.batch_size
    count = found.images * positions
    factor = 1.0 if chosen.unbiased else (count - 1) / count
    rows = [
        (step, channel, float(at_step[chosen.layer][0][channel]),
         factor * float(at_step[chosen.layer][1][channel]))
        for step, at_step in found.population.items()
        for channel in chosen.channels
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def _sentence(run: RunView, series: dict[str, np.ndarray], chosen: Choice) -> str:
    if not len(series["step"]):
        return _("Batch statistics come with the first steps of the run.")
    if (words := diverged(series["step"], series["ema_var"])) is not None:
        return words
    count = values_per_channel(run.config, chosen.layer)
    if count == 1:
        return _(
            "At batch 1 a channel of {layer} has one value a batch, whose variance is 0; running "
            "statistics made of such batches say nothing of the spread."
        ).format(layer=chosen.layer)
    return _(
        "At step {step:,} the variance of channel {channel} is {ema:.3g} by the EMA at m = {m:g}, "
        "{average:.3g} by the plain mean of all batches, and was {batch:.3g} in the last batch. "
        "A batch gives n = {n:,} values a channel: unbiased is {more:.2g}% more than biased."
    ).format(
        step=int(series["step"][-1]),
        channel=chosen.channel,
        m=chosen.momentum,
        n=count,
        more=100 * (unbiasing(run.config, chosen.layer) - 1),
        batch=series["last_var"][-1],
        **{name: series[f"{name}_var"][-1] for name in ("ema", "average")},
    )
