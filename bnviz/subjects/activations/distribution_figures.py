"""Activations over the steps, and how far distributions move: read, draw, say in one sentence."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from bnviz.charts.card import Card
from bnviz.charts.encoding import Figure
from bnviz.charts.formatting import no_probe_yet
from bnviz.charts.registry import figure
from bnviz.charts.theme import STAGE_LABELS
from bnviz.i18n import N_, _, listed, sentences
from bnviz.nn.variants import VARIANTS
from bnviz.records.reading import density, stage_history, stage_moves
from bnviz.records.schema import LEVELS
from bnviz.selection import Selection
from bnviz.subjects.activations.distribution_shift import drift
from bnviz.subjects.activations.layer_probes import followed_over_steps
from bnviz.subjects.activations.over_time_figures import (
    BANDS,
    Side,
    bands_over_steps,
    drift_over_steps,
    heatmaps_over_steps,
    ridges_over_steps,
)
from bnviz.subjects.activations.stages_figures import stage_edges
from bnviz.training.run_view import RunView

HEIGHT = 300
SAME = 0.1
"""Two shifts within this share of each other are called alike."""


@figure(
    "activations/over_time",
    N_("Distribution of a stage over the steps"),
    needs=("layer", "stage", "step", "shown_as", "one_axis", "channels", "variant"),
)
def over_time(run: RunView, chosen: Selection) -> Card:
    """One stage of a layer over the whole run, on bins that all variants share."""
    stage = chosen.stage
    edges = stage_edges(run, chosen, stage)
    places = [int(np.abs(LEVELS - level).argmin()) for level in BANDS]
    found = {}
    for variant in run.config.variants:
        steps, rows = stage_history(run.config, run.history, variant, chosen.layer, stage)
        if len(steps):
            shares = np.array([density(row, edges) for row in rows])
            found[variant] = (steps, shares, rows[:, places])
    return Card(
        key=f"heat_{stage}",
        title=_("{layer} over the steps, {stage}").format(
            stage=_(STAGE_LABELS[stage]), layer=chosen.layer
        ),
        figure=_over_time_figure(run, chosen, found, edges),
        sentence=_over_time_sentence(run, found),
        alt=_("Distribution of a stage of the layer over the steps for each variant"),
        height=HEIGHT,
        asked=f"{chosen}",
    )


def _over_time_sentence(run: RunView, stages: Mapping[str, Side]) -> str:
    """Where most values lie at the first and the last probe of each variant."""
    if not stages:
        return no_probe_yet(run.config.stages_every)
    low, high = list(BANDS)[1], list(BANDS)[-2]
    said = _("{label}: from {a0:.2f} … {b0:.2f} to {a1:.2f} … {b1:.2f}")
    variants = listed(
        said.format(label=run.labels[v], a0=q[0, 1], b0=q[0, -2], a1=q[-1, 1], b1=q[-1, -2])
        for v, (_steps, _shares, q) in stages.items()
    )
    return _("Where {share:.0%} of the values lie, first and last probe. {variants}.").format(
        share=high - low, variants=variants
    )


def _over_time_figure(
    run: RunView, chosen: Selection, stages: Mapping[str, Side], edges: np.ndarray
) -> Figure:
    if chosen.shown_as == "ridges":
        return ridges_over_steps(stages, edges, run.labels, chosen.step)
    draw = bands_over_steps if chosen.shown_as == "bands" else heatmaps_over_steps
    variant = run.variant(chosen.variant)
    follow = followed_over_steps(run, variant, chosen.layer, chosen.stage, chosen.followed)
    return draw(stages, edges, run.labels, chosen.step, {} if follow is None else {variant: follow})


@figure("activations/shift", N_("How far the inputs of a layer move"), needs=("layer",))
def shift(run: RunView, chosen: Selection) -> Card:
    """Wasserstein distance of the inputs to the probe before, and to the last one."""
    drifts = {
        variant: drift(*stage_history(*where), stage_moves(*where))
        for variant in run.config.variants
        for where in [(run.config, run.history, variant, chosen.layer, "input")]
    }
    return Card(
        key="shift",
        title=_("How far the inputs of {layer} move").format(layer=chosen.layer),
        figure=drift_over_steps(drifts, run.labels, run.history.events),
        sentence=_shift_sentence(run, drifts),
        alt=_("Wasserstein distance of a layer's inputs to the probe before and to the last one"),
        height=430,
        asked=f"{chosen}",
    )


def _shift_sentence(run: RunView, drifts: Mapping[str, pd.DataFrame]) -> str:
    """How far the inputs move from probe to probe, and what that says of BN."""
    moved = {v: of["moved"].median() for v, of in drifts.items() if of["moved"].notna().any()}
    if not moved:
        return _("Two probes are needed to measure a movement.")
    relative = {v: m / max(drifts[v]["spread"].median(), 1e-12) for v, m in moved.items()}
    said = _("{label} {moved:.3g}, which is {relative:.1%} of their spread")
    moves = listed(
        said.format(label=run.labels[v], moved=moved[v], relative=relative[v]) for v in moved
    )
    sentence = _(
        "Wasserstein distance, measured on this run. From one probe to the next the inputs "
        "moved by (median) {moves}."
    ).format(moves=moves)
    return sentences(sentence, _shift_verdict(run, relative))


def _shift_verdict(run: RunView, relative: Mapping[str, float]) -> str:
    """What the drift says of BN against none: more, less, or about the same on this run."""
    right = [v for v in relative if VARIANTS[v].normalizes and VARIANTS[v].agrees]
    if "none" not in relative or not right:
        return ""
    ratio = relative[right[-1]] / max(relative["none"], 1e-12)
    words = (
        _(
            "With {label} that is {ratio:.2g} times as much of the spread as without BN: here BN "
            "makes the inputs move less."
        )
        if ratio < 1 - SAME
        else _(
            "With {label} that is {ratio:.2g} times as much of the spread as without BN: here BN "
            "does not make the inputs move less."
        )
        if ratio > 1 + SAME
        else _(
            "With {label} that is {ratio:.2g} times as much of the spread as without BN: about "
            "the same."
        )
    )
    return words.format(label=run.labels[right[-1]], ratio=ratio)
