"""Activations before and after BN at a probe."""

from collections.abc import Mapping

import numpy as np

from bnviz.charts.card import HEIGHT, Card
from bnviz.charts.formatting import no_probe_yet
from bnviz.charts.histogram import bin_edges, four_stages
from bnviz.charts.registry import figure
from bnviz.i18n import N_, _
from bnviz.nn.variants import VARIANTS
from bnviz.records.reading import density, layer_range, stage_quantiles, stage_range
from bnviz.records.schema import STAGES
from bnviz.selection import Selection
from bnviz.subjects.activations.layer_probes import followed_quantiles
from bnviz.training.run_view import RunView


@figure(
    "activations/stages",
    N_("The four stages of a BN layer at one step"),
    needs=("layer", "step", "one_axis", "channels", "variant"),
)
def stages(run: RunView, chosen: Selection) -> Card:
    """Activations before and after BN; with `one_axis` all but the last stage share their bins."""
    layer, followed = chosen.layer, followed_quantiles(run, chosen)
    probes = {
        v: found
        for v in run.config.variants
        if (found := stage_quantiles(run.config, run.history, v, layer, chosen.step)) is not None
    }
    densities, channel = {}, {}
    for stage in STAGES:
        edges = stage_edges(run, chosen, stage)
        densities[stage] = {
            v: (edges, density(found[stage], edges))
            for v, (_at, found) in probes.items()
            if stage in found
        }
        if followed is not None and stage in followed[1]:
            channel[stage] = (edges, density(followed[1][stage], edges))
    with_channel = None if followed is None else (followed[0], channel)
    return Card(
        key="stages",
        title=(
            _("BN gives every distribution the same mean and spread: {layer}")
            if any(VARIANTS[v].normalizes for v in run.config.variants)
            else _("The distributions of {layer} without BN")
        ).format(layer=layer),
        figure=four_stages(densities, run.labels, with_channel),
        sentence=_stages_sentence(run, layer, probes),
        alt=_("Histograms of the four stages of a BN layer on shared bins"),
        height=HEIGHT,
        asked=f"{chosen}",
    )


def stage_edges(run: RunView, chosen: Selection, stage: str) -> np.ndarray:
    """The bins of a stage of the chosen layer; with `one_axis` all but the last stage share them."""
    where = (run.config, run.history, chosen.layer)
    if chosen.one_axis and stage != "activation":
        return bin_edges(*layer_range(*where))
    return bin_edges(*stage_range(*where, stage))


def _stages_sentence(
    run: RunView, layer: str, probes: Mapping[str, tuple[int, Mapping[str, np.ndarray]]]
) -> str:
    """Mean and deviation before and after BN, of the first variant that normalizes."""
    if not probes:
        return no_probe_yet(run.config.stages_every)
    variant = next((v for v, (_at, s) in probes.items() if "normalized" in s), next(iter(probes)))
    at, stages = probes[variant]
    found = {name: values.astype(float) for name, values in stages.items()}
    before, after = found["input"], found.get("normalized")
    if after is None:
        return _("At step {step:,} the inputs of {layer} have mean {mean:.2f}.").format(
            step=at, layer=layer, mean=before.mean()
        )
    return _(
        "At step {step:,} the inputs of {layer} have mean {mean:.2f} and standard "
        "deviation {std:.2f} over all channels; normalized, {mean_n:.2f} and {std_n:.2f} "
        "({label})."
    ).format(
        step=at, layer=layer, mean=before.mean(), std=before.std(),
        mean_n=after.mean(), std_n=after.std(), label=run.labels[variant],
    )  # fmt: skip
