"""Running statistics of some channels by several estimators, as cards."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bnviz.charts.applies import bn_figure
from bnviz.charts.card import HEIGHT, Card
from bnviz.charts.formatting import diverged, no_steps_yet
from bnviz.i18n import N_, _
from bnviz.records import moving_averages
from bnviz.records.recorded_statistics import starting_statistics, unbiasing, values_per_channel
from bnviz.records.running_view import RunningView
from bnviz.selection import SLIDER_MOMENTA, Selection, with_value
from bnviz.subjects.running_stats.comparison_figures import compared
from bnviz.subjects.running_stats.estimator_comparison_figures import estimates_over_steps
from bnviz.training.run_view import RunView, running_view

if TYPE_CHECKING:
    from bnviz.subjects.running_stats.estimator_comparison import EstimatorComparison


@bn_figure(
    "running_stats/estimates",
    N_("Estimators compared: the running statistics over the steps"),
    needs=("variant", "layer", "channels", "momentum", "unbiased"),
)
def estimates(run: RunView, chosen: Selection) -> Card:
    """Batches, the layer's own line, replays and, once measured, the population."""
    chosen = run.settled(chosen)
    found = compared(run, chosen)
    channels = _channels(run, chosen)
    drawn = estimates_over_steps(
        channels,
        _population(run, chosen, found),
        chosen.variant,
        run.labels[chosen.variant],
        chosen.momentum,
        run.history.events,
    )
    return Card(
        key="estimates",
        title=_(
            "Which estimator tracks the population statistics? {layer}, channel {channels}"
        ).format(layer=chosen.layer, channels=", ".join(map(str, chosen.channels))),
        figure=drawn,
        sentence=_sentence(run, channels[chosen.channel], chosen),
        alt=_("Running mean and variance of channels by several estimators over the steps"),
        height=HEIGHT + 60,
        asked=f"{chosen} {found and found.step}",
        wide=True,
    )


def _channels(run: RunView, chosen: Selection) -> dict[int, dict[str, np.ndarray]]:
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


def _view(run: RunView, chosen: Selection) -> RunningView:
    """The chosen channels with replays at every value of the slider and the plain mean."""
    momenta = (*with_value(SLIDER_MOMENTA, chosen.momentum), None)
    where = (run, chosen.variant, chosen.layer, chosen.channels)
    return running_view(*where, momenta, unbiased=chosen.unbiased)


def _replayed(run: RunView, chosen: Selection, momentum: float) -> dict[int, dict[str, np.ndarray]]:
    """By channel the EMA at `momentum`, and the same bias-corrected."""
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


def _population(
    run: RunView, chosen: Selection, found: "EstimatorComparison | None"
) -> pd.DataFrame:
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


def _sentence(run: RunView, series: dict[str, np.ndarray], chosen: Selection) -> str:
    if not len(series["step"]):
        return no_steps_yet()
    if (words := diverged(series["step"], series["ema_var"])) is not None:
        return words
    count = values_per_channel(run.config, chosen.layer)
    if count == 1:
        return _(
            "At batch 1 a channel of {layer} has one value a batch, whose variance is 0; "
            "running statistics of such batches say nothing about the spread."
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
