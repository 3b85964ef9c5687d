"""Inside a layer: all its channels, from stored weights. Torch is loaded on the first look."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from bnviz.charts.card import Card
from bnviz.charts.histogram import bin_edges
from bnviz.i18n import _, sentences
from bnviz.nn.variants import VARIANTS
from bnviz.records.reading import channel_history, density
from bnviz.records.schema import LAYERS
from bnviz.subjects.activations.channels_figures import small_multiples, weight_and_bias
from bnviz.subjects.activations.distribution_shift import SATURATED
from bnviz.subjects.activations.layer_probes import layer_probe, try_probe
from bnviz.training.run_view import RunView

if TYPE_CHECKING:
    from bnviz.subjects.activations.checkpoint_probes import LayerProbe

SPARK_BINS = 16
SPARK_POINTS = 40
MOST_MULTIPLES = 16
"""A layer of more channels has its table only."""


# ---- by channel ----------------------------------------------------------------------------------


def channel_cards(
    run: RunView, variant: str, layer: str, step: int | None, followed: int | None
) -> list[Card]:
    """Small multiples of a convolution, and weight and bias of every variant that has them.

    Raises RunError while there is no checkpoint.
    """
    probe = layer_probe(run, variant, step, layer)
    with_bn = any(VARIANTS[name].normalizes for name in run.config.variants)
    cards = [_affine_card(run, layer, step, followed)] if with_bn else []
    if LAYERS[layer] <= MOST_MULTIPLES:
        cards.insert(0, _multiples_card(run, variant, layer, probe, followed))
    return cards


def _edges(probe: "LayerProbe") -> np.ndarray:
    """Bins that hold before and after BN of all channels."""
    stages = [probe.quantiles[name] for name in ("input", "scaled") if name in probe.quantiles]
    return bin_edges(
        min(float(rows.min()) for rows in stages), max(float(rows.max()) for rows in stages)
    )


def _shares(probe: "LayerProbe", stage: str, edges: np.ndarray) -> np.ndarray | None:
    rows = probe.quantiles.get(stage)
    return None if rows is None else np.array([density(row, edges) for row in rows])


def _multiples_card(
    run: RunView, variant: str, layer: str, probe: "LayerProbe", followed: int | None
) -> Card:
    edges, table = _edges(probe), probe.table
    before, after = (_shares(probe, stage, edges) for stage in ("input", "scaled"))
    assert before is not None
    ordered = table.sort_values("mean")
    low, high = ordered.iloc[0], ordered.iloc[-1]
    title, words = _words_of_channels(layer, after is not None)
    return Card(
        key="channels",
        title=title,
        figure=small_multiples(before, after, edges, variant, followed),
        sentence=sentences(
            words.format(
                label=run.labels[variant],
                step=probe.step,
                n=probe.images,
                low=low["mean"],
                low_channel=low["channel"],
                high=high["mean"],
                high_channel=high["channel"],
                out_low=table["out_mean"].min(),
                out_high=table["out_mean"].max(),
            ),
            _("Click a channel to choose it."),
        ),
        alt=_("Histograms of every channel of the layer, a panel a channel"),
        height=340 if LAYERS[layer] < 8 else 500,
        asked=f"{variant} {layer} {probe.step} {followed}",
        pickable=True,
        wide=True,
    )


def _words_of_channels(layer: str, with_bn: bool) -> tuple[str, str]:
    """Title and sentence, to be filled, of the small multiples."""
    if not with_bn:
        return _("Every channel of {layer}, without BN").format(layer=layer), _(
            "{label}, weights of step {step:,}, {n} test images: what enters the activation has "
            "means between {low:.2f} (channel {low_channel:.0f}) and {high:.2f} (channel "
            "{high_channel:.0f})."
        )
    return _("Every channel of {layer}, before BN and after it").format(layer=layer), _(
        "{label}, weights of step {step:,}, {n} test images as one batch: before BN the channels' "
        "means lie between {low:.2f} (channel {low_channel:.0f}) and {high:.2f} (channel "
        "{high_channel:.0f}), after it between {out_low:.2f} and {out_high:.2f}."
    )


def _affine_card(run: RunView, layer: str, step: int | None, followed: int | None) -> Card:
    probes = {
        variant: found
        for variant in run.config.variants
        if VARIANTS[variant].normalizes
        and (found := try_probe(run, variant, step, layer)) is not None
    }
    affine = {
        variant: (found.table["weight"].to_numpy(), found.table["bias"].to_numpy())
        for variant, found in probes.items()
    }
    words = [
        _(
            "{label} has weights from {low:.2f} to {high:.2f} and biases from {a:.2f} to {b:.2f}."
        ).format(label=run.labels[variant], low=w.min(), high=w.max(), a=b.min(), b=b.max())
        for variant, (w, b) in affine.items()
    ]
    return Card(
        key="affine",
        title=_("Weight and bias at work: {layer}").format(layer=layer),
        figure=weight_and_bias(affine, run.labels, followed),
        sentence=sentences(*words),
        alt=_("BN's weight and bias of every channel of the layer, a mark a channel"),
        height=330,
        asked=f"{layer} {step} {followed}",
        pickable=True,
        wide=True,
    )


def dead_channels(run: RunView, layer: str, step: int | None) -> dict[str, int]:
    """Variant to the number of dead channels at the nearest checkpoint; none without one."""
    return {
        variant: int(found.table["dead"].sum())
        for variant in run.config.variants
        if (found := try_probe(run, variant, step, layer)) is not None
    }


def channel_table(
    run: RunView, variant: str, layer: str, step: int | None, *, on_row: Callable[[int], None]
) -> None:
    """A row a channel with sparklines, to sort by any column; `on_row` hears which one is chosen."""

    def chosen() -> None:
        rows = st.session_state["channel_table"]["selection"]["rows"]
        if rows:
            on_row(rows[0])

    st.markdown(
        _(
            "**Channel by channel: {layer}, {label}.** Sort by any column; select a row to "
            "choose its channel."
        )
        .format(layer=layer, label=run.labels[variant])
    )  # fmt: skip
    probe = layer_probe(run, variant, step, layer)
    edges = np.linspace(_edges(probe)[0], _edges(probe)[-1], SPARK_BINS + 1)
    frame = probe.table.drop(columns=["out_mean", "out_std"])
    before, after = (_shares(probe, stage, edges) for stage in ("input", "scaled"))
    frame.insert(1, "before", [(100 * row).tolist() for row in before])  # type: ignore[union-attr]
    if after is not None:
        frame.insert(2, "after", [(100 * row).tolist() for row in after])
    path = channel_history(run.history, variant, layer, list(range(len(frame))), SPARK_POINTS)
    if len(path["step"]):
        frame.insert(3, "path", path["mean"].T.tolist())
    frame["saturated"] *= 100
    st.dataframe(
        frame.dropna(axis=1, how="all"), key="channel_table", hide_index=True,
        height=380 if len(frame) > 10 else "content",
        on_select=chosen, selection_mode="single-row", column_config=_columns(run, after is not None),
    )  # fmt: skip


def _columns(run: RunView, with_bn: bool) -> dict[str, Any]:
    column = st.column_config
    saturated = (
        _("Share of values whose derivative is below {share:.0%} of the sigmoid's largest.").format(
            share=SATURATED
        )
        if run.config.activation == "sigmoid"
        else _("Share of zeros after the ReLU.")
    )
    number: dict[str, Any] = {"format": "%.3f"}
    return {
        "channel": column.NumberColumn(_("channel"), width="small"),
        "before": column.BarChartColumn(
            _("before BN"), width=100, help=_("All channels on the same bins.")
        ),
        "after": column.BarChartColumn(
            _("after BN"), width=100, help=_("On the same bins as before BN.")
        ),
        "path": column.LineChartColumn(
            _("mean over the run"),
            width=110,
            help=_("Means of the batches before BN, from the first step to the last."),
        ),
        "mean": column.NumberColumn(_("mean before"), **number),
        "std": column.NumberColumn(_("std before"), **number),
        "weight": column.NumberColumn(_("weight γ"), **number),
        "bias": column.NumberColumn(_("bias β"), **number),
        "saturated": column.NumberColumn(_("saturated"), format="%.1f %%", help=saturated),
        "dead": column.CheckboxColumn(
            _("dead"), help=_("Every value of every probe image is saturated.")
        ),
    }
