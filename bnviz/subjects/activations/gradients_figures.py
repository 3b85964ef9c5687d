"""Gradients: what enters and leaves a BN layer, how fast weights move, what reaches which depth."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from bnviz.charts.card import HEIGHT, Card
from bnviz.charts.formatting import no_probe_yet
from bnviz.charts.histogram import ends
from bnviz.charts.marks import (
    Figure,
    curve,
    curves_over_steps,
    drawing,
    event_marks,
    grid,
    one_entry,
    stacked,
    step_mark,
)
from bnviz.charts.registry import figure
from bnviz.charts.theme import SIDE_LABELS, axis, colour, from_zero, hover, own_stroke
from bnviz.i18n import N_, _, listed, sentences
from bnviz.nn.layers import WEIGHT_LAYERS
from bnviz.records.schema import QUANTILES, SIDES
from bnviz.selection import Selection
from bnviz.subjects.activations import recorded_gradients as recorded
from bnviz.training.run_view import RunView

_Values = TypeVar("_Values", pd.Series, pd.DataFrame)

BINS_A_DECADE = 6
# Sizes are read as powers of ten: plotly would write n and µ.
LOG = {"type": "log", "exponentformat": "power"}


def size_edges(low: int, high: int) -> np.ndarray:
    """Edges of equally wide bins on a log axis from 10**low to 10**high, shared by all variants."""
    return np.logspace(low, high, (high - low) * BINS_A_DECADE + 1)


def gradient_histograms(
    shares: Mapping[str, Mapping[str, np.ndarray]],
    edges: np.ndarray,
    labels: Mapping[str, str],
) -> Figure:
    """Sizes of the gradient that comes into a BN layer and of what it passes down, on shared bins.

    `shares`: per side and variant the share of all values (0 to 1) in each bin; values of exactly
    0 are in none. `edges` (bins + 1,), positive.
    """
    middle = np.sqrt(edges[1:] * edges[:-1])
    data = [
        curve(
            k,
            middle,
            100 * share,
            ("gradient", "density"),
            {**own_stroke(variant), "shape": "hvh"},
            fill="tozeroy",
            fillcolor=colour(variant, 0.12),
            **one_entry(labels[variant], variant, shown=k == 0),
        )
        for k, of_variant in enumerate(shares.values())
        for variant, share in of_variant.items()
    ]
    # The standoff keeps the first power of ten off the 0 of the other axis.
    x = {**LOG, "range": ends(np.log10(edges)), "ticklabelstandoff": 6}
    xs = [x, axis("gradient", **x)]
    ys = [from_zero("density") for _side in shares]
    titles = [_(SIDE_LABELS[side]) for side in shares]
    return drawing(data, grid(xs, ys, titles, 1), legend_y=1.1)


def gradient_norms(
    curves: Mapping[str, pd.DataFrame],
    labels: Mapping[str, str],
    events: Sequence[Mapping[str, Any]],
    chosen: int | None,
) -> Figure:
    """Norm of a weight's gradient above, update over weight below, over the steps, all variants.

    `curves`: per variant the columns step, grad_norm, update_ratio. `chosen` is a step to mark.
    """
    quantities = ["grad_norm", "update_ratio"]
    drawn = {v: frame.assign(**_positive(frame[quantities])) for v, frame in curves.items()}
    data = curves_over_steps(drawn, quantities, labels)
    rows = [axis(q, **_log(frame[q] for frame in curves.values())) for q in quantities]
    marks = event_marks(events)
    marks["shapes"] += step_mark(0, chosen)
    return drawing(data, {**stacked(rows, from_zero("step")), **marks})


def norms_by_layer(norms: Mapping[str, pd.DataFrame], labels: Mapping[str, str]) -> Figure:
    """Norm of the weight's gradient in each layer at one step, from the images to the logits.

    `norms`: per variant the columns layer, grad_norm.
    """
    data = [
        {
            "type": "scatter",
            "x": frame["layer"].tolist(),
            "y": _positive(frame["grad_norm"]).to_numpy(np.float32),
            "mode": "lines+markers",
            "line": own_stroke(variant),
            "marker": {"size": 8, "color": colour(variant)},
            "name": labels[variant],
            "hovertemplate": hover("weight_layer", "grad_norm"),
        }
        for variant, frame in norms.items()
    ]
    y = axis("grad_norm", **_log(frame["grad_norm"] for frame in norms.values()))
    return drawing(data, {"xaxis": axis("weight_layer", type="category"), "yaxis": y})


def _log(series: Iterable[pd.Series]) -> dict[str, Any]:
    """A log axis with a tick a decade, or finer where all values lie within two of them."""
    values = [value for each in series for value in _positive(each).dropna()]
    wide = bool(values) and max(values) > 100 * min(values)
    return {**LOG, "dtick": 1 if wide else "D2"}


def _positive(values: _Values) -> _Values:
    """What a log axis can show; the rest is a gap."""
    return values.where(values > 0)


MANY_ZEROS = 0.01


def needs_gradients(run: RunView) -> str:
    """Why a run shows no gradients."""
    return "" if run.config.gradients else _("This run did not record its gradients.")


gradient_figure = partial(figure, applies=needs_gradients)


@gradient_figure(
    "activations/gradient_values",
    N_("What BN does to the gradient in the backward pass"),
    needs=("layer", "step"),
)
def gradient_values(run: RunView, chosen: Selection) -> Card:
    """What BN makes of the gradient on its way back."""
    layer, step = chosen.layer, chosen.step
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
        title=_("What BN does to the gradient in the backward pass: {layer}").format(layer=layer),
        figure=gradient_histograms(shares, edges, run.labels),
        sentence=_values_sentence(run, probes) if probes else no_probe_yet(run.config.stages_every),
        alt=_(
            "Histograms of the sizes of a BN layer's incoming and propagated gradients on "
            "shared bins"
        ),
        height=HEIGHT,
        asked=f"{chosen}",
    )


def _values_sentence(run: RunView, probes: dict[str, tuple[int, dict[str, np.ndarray]]]) -> str:
    """Root mean squares on both sides, and how much of it is nothing."""
    sizes = listed(
        _("{label} {above:.2g} incoming and {below:.2g} propagated").format(
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
        return sentences(
            sentence,
            _(
                "Values of exactly 0 are not drawn; they are {share} of the incoming gradient (max "
                "pooling passes the gradient to the largest pixel only, ReLU to positive values)."
            ).format(share=low if low == high else f"{low}–{high}"),
        )
    return sentence


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.square(values.astype(float)).mean()))


@gradient_figure(
    "activations/gradient_depth", N_("Norm of each layer's weight gradient"), needs=("step",)
)
def gradient_depth(run: RunView, chosen: Selection) -> Card:
    """Norm of each layer's weight gradient."""
    norms = {v: recorded.gradient_norms(run.history, v, chosen.step) for v in run.config.variants}
    norms = {v: frame for v, frame in norms.items() if len(frame)}
    return Card(
        key="gradient_depth",
        title=_("How much of the gradient reaches the first layer"),
        figure=norms_by_layer(norms, run.labels),
        sentence=_depth_sentence(run, norms),
        alt=_("Norm of each layer's weight gradient at one step, a line a variant, log scale"),
        height=HEIGHT,
        asked=f"{chosen}",
    )


def _depth_sentence(run: RunView, norms: dict[str, pd.DataFrame]) -> str:
    if not norms:
        return no_probe_yet(run.config.stages_every)
    return _(
        "At step {step:,} the weight gradient of {first} is, as a multiple of that of {last}: "
        "{ratios}."
    ).format(
        step=int(next(iter(norms.values()))["step"].iloc[0]),
        first=WEIGHT_LAYERS[0],
        last=WEIGHT_LAYERS[-1],
        ratios=listed(f"{run.labels[v]} {_times(of['grad_norm'])}" for v, of in norms.items()),
    )


def _times(norms: pd.Series) -> str:
    """The first layer's norm over the last one's, as a number for a sentence."""
    return f"{norms.iloc[0] / norms.iloc[-1]:.2g}" if norms.iloc[-1] > 0 else _("unknown")


@gradient_figure(
    "activations/gradient_curves",
    N_("Gradient norm and update size over the steps"),
    needs=("layer", "step"),
)
def gradient_curves(run: RunView, chosen: Selection) -> Card:
    """Gradient norm and update size over the steps."""
    layer = chosen.layer
    curves = {v: recorded.gradient_curves(run.history, v, layer) for v in run.config.variants}
    curves = {v: frame for v, frame in curves.items() if len(frame)}
    return Card(
        key="gradient_curves",
        title=_("Gradient norm and update size of {layer}").format(layer=layer),
        figure=gradient_norms(curves, run.labels, run.history.events, chosen.step),
        sentence=_curves_sentence(run, layer, curves),
        alt=_("Norm of a weight's gradient and its update over the weight, over the steps"),
        height=HEIGHT,
        asked=f"{chosen}",
    )


def _curves_sentence(run: RunView, layer: str, curves: dict[str, pd.DataFrame]) -> str:
    """How far a step moved the weight, and what Adam does to small gradients."""
    if not curves:
        return no_probe_yet(run.config.stages_every)
    medians = {v: 100 * frame["update_ratio"].median() for v, frame in curves.items()}
    moved = _(
        "How far one step moved the weight of {layer}, as a share of its length, median over "
        "the run: {moves}."
    ).format(layer=layer, moves=listed(f"{run.labels[v]} {m:.2g}%" for v, m in medians.items()))
    if run.config.optimizer != "adam":
        return moved
    return sentences(
        moved,
        _(
            "Adam divides each gradient by its own recent size, so a small gradient alone "
            "does not make a small update."
        ),
    )
