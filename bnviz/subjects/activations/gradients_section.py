"""Backward: the gradient at each BN layer, of each weight, and how far a step moves the weights."""

import numpy as np
import pandas as pd
import streamlit as st

from bnviz.app.rerun_button import beside_none, train_again, with_changes
from bnviz.app.runs import RunView
from bnviz.charts.card import Card
from bnviz.config import RunConfig
from bnviz.i18n import _
from bnviz.records.schema import QUANTILES, SIDES, WEIGHT_LAYERS
from bnviz.subjects.activations import recorded_gradients as recorded
from bnviz.subjects.activations.gradients_figures import (
    gradient_histograms,
    gradient_norms,
    norms_by_layer,
    size_edges,
)

HEIGHT = 430
MANY_ZEROS = 0.01


def cards(run: RunView, layer: str, step: int | None) -> list[Card]:
    """The figures of a run with gradients: BN layer `layer` at the last probe up to `step`."""
    asked = f"{layer} {step}"
    return [
        _values_card(run, layer, step, asked),
        _depth_card(run, step, asked),
        _curves_card(run, layer, step, asked),
    ]


def cost(run: RunView) -> str:
    """What recording the gradients cost this run, measured on it; empty where it is not known."""
    share = (run.summary or {}).get("gradients_share")
    if share is None and run.job is not None and run.job.steps_done:
        share = run.job.gradients_share
    if share is None or not run.config.gradients:
        return ""
    template = (
        _("Recording gradients takes {share:.1%} of this run's time so far.")
        if run.live
        else _("Recording gradients took {share:.1%} of this run's time.")
    )
    return template.format(share=share)


def empty(run: RunView) -> None:
    """Why a run shows no gradients, and a button that gets them."""
    config = with_gradients(run.config)
    added = len(config.variants) > len(run.config.variants)
    st.info(
        _(
            "This run did not record its gradients: looking inside each probed step costs time, "
            "so a run must ask for it. The same settings train again with gradients on."
        ),
        icon=":material/south:",
    )
    train_again(
        config, key="record_gradients",
        label=_("Train again with gradients recorded, and without BN beside it")
        if added
        else _("Train again with gradients recorded"),
    )  # fmt: skip


def with_gradients(config: RunConfig) -> RunConfig:
    """The same run with gradients recorded, and the variant without BN to compare with."""
    return with_changes(config, gradients=True, variants=beside_none(config))


def _not_yet(run: RunView) -> str:
    return _("The first probe comes after {every} steps.").format(every=run.config.stages_every)


def _values_card(run: RunView, layer: str, step: int | None, asked: str) -> Card:
    edges = size_edges(*recorded.gradient_range(run.config, run.history, layer))
    probes = {
        v: found
        for v in run.config.variants
        if (found := recorded.gradient_quantiles(run.history, v, layer, step)) is not None
    }
    shares = {
        side: {v: recorded.size_shares(q[side], edges) for v, (_at, q) in probes.items()}
        for side in SIDES
    }
    return Card(
        key="gradient_values",
        title=_("What BN makes of the gradient on its way down: {layer}").format(layer=layer),
        figure=gradient_histograms(shares, edges, run.labels),
        sentence=_values_sentence(run, probes) if probes else _not_yet(run),
        alt=_("Histograms of gradient sizes above and below a BN layer on shared bins"),
        height=HEIGHT,
        asked=asked,
    )


def _values_sentence(run: RunView, probes: dict[str, tuple[int, dict[str, np.ndarray]]]) -> str:
    """Root mean squares on both sides, and how much of it is nothing."""
    sizes = "; ".join(
        _("{label} {above:.2g} from above and {below:.2g} passed down").format(
            label=run.labels[v], above=_rms(q["output"]), below=_rms(q["input"])
        )
        for v, (_at, q) in probes.items()
    )
    at = next(iter(probes.values()))[0]
    sentence = _("Step {step:,}, root mean square of {quantiles} quantiles: {sizes}.").format(
        step=at, quantiles=QUANTILES, sizes=sizes
    )
    zeros = [float((q["output"] == 0).mean()) for _at, q in probes.values()]
    if max(zeros) > MANY_ZEROS:
        low, high = (f"{share:.0%}" for share in (min(zeros), max(zeros)))
        sentence += " " + _(
            "Values of exactly 0 are not drawn; from above they are {share} (a maximum pooling "
            "passes a gradient to the pixel that won, ReLU where it is open)."
        ).format(share=low if low == high else _("{low} to {high}").format(low=low, high=high))
    return sentence


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.square(values.astype(float)).mean()))


def _depth_card(run: RunView, step: int | None, asked: str) -> Card:
    norms = {v: recorded.gradient_norms(run.history, v, step) for v in run.config.variants}
    norms = {v: frame for v, frame in norms.items() if len(frame)}
    sentence = _not_yet(run)
    if norms:
        first, last = WEIGHT_LAYERS[0], WEIGHT_LAYERS[-1]
        ratios = ", ".join(
            _("{label} {ratio}").format(ratio=_times(frame["grad_norm"]), label=run.labels[v])
            for v, frame in norms.items()
        )
        sentence = _(
            "At step {step:,} the weight gradient of {first} is, as a multiple of that of {last}: "
            "{ratios}."
        ).format(
            step=int(next(iter(norms.values()))["step"].iloc[0]),
            first=first,
            last=last,
            ratios=ratios,
        )
    return Card(
        key="gradient_depth",
        title=_("How much of the gradient reaches the first layer"),
        figure=norms_by_layer(norms, run.labels),
        sentence=sentence,
        alt=_("Norm of each layer's weight gradient at one step, a line a variant, log scale"),
        height=HEIGHT,
        asked=asked,
    )


def _times(norms: pd.Series) -> str:
    """The first layer's norm over the last one's, as a number for a sentence."""
    return f"{norms.iloc[0] / norms.iloc[-1]:.2g}" if norms.iloc[-1] > 0 else _("unknown")


def _curves_card(run: RunView, layer: str, step: int | None, asked: str) -> Card:
    curves = {v: recorded.gradient_curves(run.history, v, layer) for v in run.config.variants}
    curves = {v: frame for v, frame in curves.items() if len(frame)}
    sentence = _not_yet(run)
    if curves:
        moves = ", ".join(
            _("{label} {move:.2g}%").format(
                move=100 * frame["update_ratio"].median(), label=run.labels[v]
            )
            for v, frame in curves.items()
        )
        sentence = _(
            "How far one step moved the weight of {layer}, as a share of its length, median over "
            "the run: {moves}."
        ).format(layer=layer, moves=moves)
        if run.config.optimizer == "adam":
            sentence += " " + _(
                "Adam divides each gradient by its own recent size, so a small gradient alone "
                "does not make a small update."
            )
    return Card(
        key="gradient_curves",
        title=_("How hard {layer} is pulled, and how far it moves").format(layer=layer),
        figure=gradient_norms(curves, run.labels, run.history.events, step),
        sentence=sentence,
        alt=_("Norm of a weight's gradient and its update over the weight, over the steps"),
        height=HEIGHT,
        asked=asked,
    )
