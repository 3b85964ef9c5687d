"""The value that running statistics start at, and the eps that is added to them."""

from functools import lru_cache

import numpy as np

from bnviz import data
from bnviz.charts.applies import bn_figure
from bnviz.charts.card import HEIGHT, Card
from bnviz.charts.formatting import no_steps_yet
from bnviz.charts.registry import NotReady
from bnviz.i18n import N_, _
from bnviz.records import moving_averages
from bnviz.records.reading import latest_step
from bnviz.records.recorded_statistics import eps_at, own_statistics, replay_layer
from bnviz.records.schema import steps_table
from bnviz.selection import Selection
from bnviz.subjects.running_stats.estimator_comparison_figures import first_steps, share_of_eps
from bnviz.training.run_view import RunView

FIRST_STEPS = 100
STARTS = {"zero": 0.0, "one": 1.0}
EPS_MATTERS = 0.01  # share of var + eps


@lru_cache(maxsize=128)
def _before_training(run: RunView, variant: str, layer: str, start: float, eps: float) -> float:
    from bnviz.subjects.running_stats.first_steps import before_training

    images = data.load(run.config.dataset).test_images
    return before_training(run.config, variant, layer, images, start=start, eps=eps)


@bn_figure(
    "running_stats/start",
    N_("Initial value of the running statistics"),
    needs=("variant", "layer", "channels", "momentum", "eps"),
)
def start_value(run: RunView, chosen: Selection) -> Card:
    """The value that running statistics start at."""
    chosen = run.settled(chosen)
    _wait_for_steps(run, chosen)
    where = (run.config, run.history, chosen.variant, chosen.layer)
    # At momentum 1 the running variance is each batch's own, as the layer averages it.
    steps, _means, batch_var = replay_layer(*where, 1.0, [chosen.channel], FIRST_STEPS)
    started = {
        start: moving_averages.replay(
            batch_var, batch_var, momentum=chosen.momentum, initial_var=start
        )[1][:, 0]
        for start in STARTS.values()
    }
    return Card(
        key="start",
        title=_("The initial value weighs on the first steps"),
        figure=first_steps(steps, batch_var[:, 0], started),
        sentence=_start_sentence(run, chosen, min(5, len(steps))),
        alt=_("Running variance of a channel over the first steps, with initial values 0 and 1"),
        height=HEIGHT - 60,
        asked=f"{chosen}",
    )


def _start_sentence(run: RunView, chosen: Selection, at: int) -> str:
    """The weight of the start after `at` steps, and what eval mode gives before the first."""
    outputs = {
        name: _before_training(run, chosen.variant, chosen.layer, start, chosen.eps)
        for name, start in STARTS.items()
    }
    return _(
        "At m = {m:g}, the initial value still has a weight of {left:.0%} after {at} "
        "steps: with an initial value of 0 the variance is too low by that share (factor 1 "
        "− (1 − m)ᵗ). In eval mode before the first step, at ε = {eps:g}, {layer} gives "
        "values up to {zero:,.3g} with a variance of 0, which divides by √ε, and up to "
        "{one:,.3g} with torch's 1."
    ).format(
        m=chosen.momentum,
        left=moving_averages.start_bias(chosen.momentum, at),
        at=at,
        eps=chosen.eps,
        layer=chosen.layer,
        **outputs,
    )


@bn_figure(
    "running_stats/eps_share",
    N_("How much of var + eps is eps"),
    needs=("variant", "layer", "eps"),
)
def eps_share(run: RunView, chosen: Selection) -> Card:
    """How much of var + eps is eps."""
    chosen = run.settled(chosen)
    _wait_for_steps(run, chosen)
    _mean, var = own_statistics(run.history, chosen.variant, chosen.layer)
    shares = chosen.eps / (var.astype(float) + chosen.eps)
    title = (
        _("In {layer}, eps is not small beside the variance")
        if shares.max() > EPS_MATTERS
        else _("In {layer}, eps is far below every variance")
    )
    return Card(
        key="eps_share",
        title=title.format(layer=chosen.layer),
        figure=share_of_eps(shares, chosen.variant),
        sentence=_eps_sentence(run, chosen, shares, var),
        alt=_("Share of eps in the variance plus eps for each channel of the layer"),
        height=HEIGHT - 60,
        asked=f"{chosen}",
    )


def _eps_sentence(run: RunView, chosen: Selection, shares: np.ndarray, var: np.ndarray) -> str:
    """On the channel whose share (0 to 1) of eps is the largest."""
    worst = int(shares.argmax())
    return _(
        "{label}: with ε = {eps:g} channel {channel} has most of it, {share:.3g}% of "
        "var + ε (running variance {var:.3g}), so its outputs in eval mode shrink to "
        "{scale:.6g}%. "
        "Training saw ε = {own:g}."
    ).format(
        label=run.labels[chosen.variant],
        eps=chosen.eps,
        channel=worst,
        share=100 * shares[worst],
        var=var[worst],
        scale=100 * np.sqrt(1 - shares[worst]),
        own=eps_at(run.config, run.history, latest_step(run.history, chosen.variant)),
    )


def _wait_for_steps(run: RunView, chosen: Selection) -> None:
    """Raises NotReady before the first step, and where the statistics are no numbers."""
    if not len(run.history[steps_table(chosen.variant)]):
        raise NotReady("waiting", no_steps_yet())
    own = own_statistics(run.history, chosen.variant, chosen.layer)
    if not all(np.isfinite(values).all() for values in own):
        said = _(
            "The running statistics of this run are not finite: it diverged. Choose another run."
        )
        raise NotReady("failed", said)
