"""Activations over the run: all stages over the steps, one step in numbers, how far they move."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import streamlit as st

from bnviz.app.playback import STEP
from bnviz.app.rerun_button import beside_none, train_again, with_changes
from bnviz.app.runs import RunView
from bnviz.app.state import answered_by, layer_control
from bnviz.charts.card import Card
from bnviz.charts.histogram import bin_edges
from bnviz.charts.marks import Figure
from bnviz.charts.theme import STAGE_LABELS
from bnviz.i18n import _
from bnviz.nn.variants import VARIANTS
from bnviz.records.reading import (
    density,
    layer_range,
    stage_history,
    stage_moves,
    stage_quantiles,
    stage_range,
)
from bnviz.records.schema import LAYERS, LEVELS, STAGES
from bnviz.subjects.activations import feature_maps_section
from bnviz.subjects.activations.channels_section import dead_channels, followed_over_steps
from bnviz.subjects.activations.distribution_shift import drift, shape_of
from bnviz.subjects.activations.over_time_figures import (
    BANDS,
    Side,
    bands_over_steps,
    drift_over_steps,
    heatmaps_over_steps,
    ridges_over_steps,
)
from bnviz.subjects.activations.stages_section import stages_card

if TYPE_CHECKING:
    from bnviz.subjects.activations.checkpoint_probes import LayerProbe

HEIGHT = 300
SAME = 0.1
"""Two drifts within this share of each other are called alike."""
_FOLLOWED = "followed_by_click"


@dataclass(frozen=True)
class Choice:
    """What the controls of the page say."""

    layer: str
    stages: tuple[str, ...]
    step: int | None
    """Of the scrubber; None while there is nothing to scrub."""
    shown_as: str = "heatmap"
    one_axis: bool = True
    variant: str = ""
    channel: int | None = None
    """The channel that all figures follow; None for none, or where the layer has not so many."""


def view_control() -> str:
    """Which of the page's views is on show."""
    names = {
        "over_time": _("Over the steps"),
        "channels": _("By channel"),
        "image": _("On an image"),
        "backward": _("Backward"),
    }
    return st.segmented_control(
        _("View"), list(names), default="over_time", required=True, key="act_view",
        bind="query-params", format_func=lambda name: names[name],
        help=_("The step slider and the layer below act on every view."),
    )  # fmt: skip


@st.fragment
def controls(run: RunView, view: str, *, answers: str) -> None:
    """Layer, channel and what the view needs; `answers` is the key of the fragment of figures."""
    changed = answered_by(answers)
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        layer_control("act_layer", "conv2", changed)
        if view != "backward":
            st.number_input(
                _("Follow channel"), 0, max(LAYERS.values()) - 1, None, key="act_channel",
                bind="query-params", width=150, on_change=changed, placeholder=_("none"),
                help=_("Counted from 0, and marked in every figure. A click on a channel fills it in."),
            )  # fmt: skip
            variant_control(run, "act_variant", changed)
        if view == "over_time":
            _over_time_controls(changed)
        if view == "image":
            feature_maps_section.controls(changed)


def variant_control(run: RunView, key: str, changed: Callable[[], None]) -> None:
    """Which variant a figure of one variant shows."""
    variants = list(run.config.variants)
    if st.session_state.get(key) not in variants:
        st.session_state.pop(key, None)
    st.segmented_control(
        _("Variant"), variants, default=run.default_variant, required=True, key=key,
        bind="query-params", format_func=lambda v: _(VARIANTS[v].label), on_change=changed,
        help=_("Whose channels are shown and followed."),
    )  # fmt: skip


def _over_time_controls(changed: Callable[[], None]) -> None:
    names = {"heatmap": _("side by side"), "bands": _("overlaid"), "ridges": _("ridges")}
    st.segmented_control(
        _("Shown as"), list(names), default="heatmap", required=True, key="act_shown_as",
        bind="query-params", format_func=lambda name: names[name], on_change=changed,
        help=_("Heatmaps with quantile bands, bands laid over each other, or some steps as ridges."),
    )  # fmt: skip
    st.pills(
        _("Stages over time"), list(STAGES), selection_mode="multi",
        default=["input", "scaled"], key="act_stages", bind="query-params",
        on_change=changed, format_func=lambda stage: _(STAGE_LABELS[stage]),
        help=_("Each on bins and an axis that all variants share."),
    )  # fmt: skip
    st.toggle(
        _("Before and after on one axis"), True, key="act_one_axis", bind="query-params",
        on_change=changed, help=_("Off: each stage fills its own axis."),
    )  # fmt: skip


def choice(run: RunView) -> Choice:
    """What the controls say."""
    chosen = st.session_state
    layer, channel = chosen["act_layer"], chosen.get("act_channel")
    return Choice(
        layer,
        tuple(stage for stage in STAGES if stage in chosen.get("act_stages", ())),
        chosen.get(STEP),
        chosen.get("act_shown_as", "heatmap"),
        chosen.get("act_one_axis", True),
        chosen.get("act_variant", run.default_variant),
        channel if channel is not None and channel < LAYERS[layer] else None,
    )


def follow(channel: int) -> None:
    """In a callback: let all figures follow this channel."""
    st.session_state["act_channel"] = channel
    st.session_state[_FOLLOWED] = True


def was_followed() -> bool:
    """Whether a click has just chosen a channel, so that its control must be drawn again."""
    return st.session_state.pop(_FOLLOWED, False)


def too_few_channels(chosen: Choice) -> None:
    """Say so when the layer has not the channel that is asked for."""
    asked = st.session_state.get("act_channel")
    if asked is not None and chosen.channel is None:
        st.caption(
            _(
                "{layer} has the channels 0 to {last}, so channel {asked} is not followed here."
            ).format(layer=chosen.layer, last=LAYERS[chosen.layer] - 1, asked=asked)
        )


def without_bn(run: RunView) -> None:
    """Where the run has no network without BN to compare with: the way to one."""
    if "none" not in run.config.variants and not run.live:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(_("This run has no network without BN to compare with."))
            train_again(
                with_changes(run.config, variants=beside_none(run.config)),
                key="again_none", label=_("Train again with No BN beside it"),
            )  # fmt: skip


def cards(run: RunView, chosen: Choice, probe: "LayerProbe | None") -> list[Card]:
    """The figures of the view over the steps; `probe` has the channels at the step on show."""
    return [
        *(_over_time_card(run, chosen, stage) for stage in chosen.stages if _has(run, stage)),
        stages_card(
            run,
            chosen.layer,
            chosen.step,
            one_axis=chosen.one_axis,
            followed=_followed(chosen, probe),
        ),
        _drift_card(run, chosen),
    ]


def _has(run: RunView, stage: str) -> bool:
    """Whether any network of the run has that stage: without BN there is none to normalize."""
    with_bn = any(VARIANTS[v].normalizes for v in run.config.variants)
    return with_bn or stage in ("input", "activation")


def _followed(
    chosen: Choice, probe: "LayerProbe | None"
) -> tuple[str, dict[str, np.ndarray]] | None:
    """Name and quantiles by stage of the channel that is followed."""
    if chosen.channel is None or probe is None:
        return None
    name = _("channel {channel}, {variant}").format(
        channel=chosen.channel, variant=_(VARIANTS[chosen.variant].label)
    )
    return name, {stage: rows[chosen.channel] for stage, rows in probe.quantiles.items()}


def _over_time_card(run: RunView, chosen: Choice, stage: str) -> Card:
    one_axis = chosen.one_axis and stage != "activation"
    low_high = (
        layer_range(run.config, run.history, chosen.layer)
        if one_axis
        else stage_range(run.config, run.history, chosen.layer, stage)
    )
    edges = bin_edges(*low_high)
    stages, words = {}, []
    places = [int(np.abs(LEVELS - level).argmin()) for level in BANDS]
    for variant in run.config.variants:
        steps, rows = stage_history(run.config, run.history, variant, chosen.layer, stage)
        if not len(steps):
            continue
        shares = np.array([density(row, edges) for row in rows])
        stages[variant] = (steps, shares, rows[:, places])
        words.append(
            _("{label}: from {a0:.2f} … {b0:.2f} to {a1:.2f} … {b1:.2f}").format(
                label=run.labels[variant],
                a0=rows[0, places[1]],
                b0=rows[0, places[-2]],
                a1=rows[-1, places[1]],
                b1=rows[-1, places[-2]],
            )
        )
    sentence = _("The first probe comes after {every} steps.").format(every=run.config.stages_every)
    if words:
        sentence = _("Where 90% of the values lie, first and last probe. {variants}.").format(
            variants="; ".join(words)
        )
    return Card(
        key=f"heat_{stage}",
        title=_("{layer} over the steps, {stage}").format(
            stage=_(STAGE_LABELS[stage]), layer=chosen.layer
        ),
        figure=_over_time_figure(run, chosen, stage, stages, edges),
        sentence=sentence,
        alt=_("Distribution of a stage of the layer over the steps for each variant"),
        height=HEIGHT,
        asked=f"{chosen}",
    )


def _over_time_figure(
    run: RunView, chosen: Choice, stage: str, stages: Mapping[str, Side], edges: np.ndarray
) -> Figure:
    if chosen.shown_as == "ridges":
        return ridges_over_steps(stages, edges, run.labels, chosen.step)
    draw = bands_over_steps if chosen.shown_as == "bands" else heatmaps_over_steps
    follow = followed_over_steps(run, chosen.variant, chosen.layer, stage, chosen.channel)
    return draw(
        stages, edges, run.labels, chosen.step, {} if follow is None else {chosen.variant: follow}
    )


def _drift_card(run: RunView, chosen: Choice) -> Card:
    drifts = {
        variant: drift(*stage_history(*where), stage_moves(*where))
        for variant in run.config.variants
        for where in [(run.config, run.history, variant, chosen.layer, "input")]
    }
    relative = {
        variant: frame["moved"].median() / max(frame["spread"].median(), 1e-12)
        for variant, frame in drifts.items()
        if frame["moved"].notna().any()
    }
    sentence = _("Two probes are needed to see anything move.")
    if relative:
        moves = "; ".join(
            _("{label} {moved:.3g}, which is {relative:.1%} of their spread").format(
                label=run.labels[variant],
                moved=drifts[variant]["moved"].median(),
                relative=share,
            )
            for variant, share in relative.items()
        )
        sentence = _(
            "Wasserstein distance, measured on this run. From one probe to the next the inputs "
            "moved by (median) {moves}."
        ).format(moves=moves)
        sentence += _shift_verdict(run, relative)
    return Card(
        key="drift",
        title=_("How far the inputs of {layer} move").format(layer=chosen.layer),
        figure=drift_over_steps(drifts, run.labels, run.history.events),
        sentence=sentence,
        alt=_("Wasserstein distance of a layer's inputs to the probe before and to the last one"),
        height=430,
        asked=f"{chosen}",
    )


def _shift_verdict(run: RunView, relative: Mapping[str, float]) -> str:
    """What the drift says of BN against none: more, less, or about the same on this run."""
    right = [v for v in relative if VARIANTS[v].normalizes and VARIANTS[v].agrees]
    if "none" not in relative or not right:
        return ""
    ratio = relative[right[-1]] / max(relative["none"], 1e-12)
    words = (
        _("less than without BN: here BN holds them stiller")
        if ratio < 1 - SAME
        else _("more than without BN: here BN does not hold them still")
        if ratio > 1 + SAME
        else _("about as much as without BN")
    )
    return " " + _("With {label} that is {ratio:.2g} times as much of the spread, {words}.").format(
        label=run.labels[right[-1]], ratio=ratio, words=words
    )


def shape_table(run: RunView, chosen: Choice) -> None:
    """Mean, spread, skew, kurtosis and saturated share of each stage at the step on show."""
    rows = []
    dead = dead_channels(run, chosen.layer, chosen.step)
    for variant in run.config.variants:
        found = stage_quantiles(run.config, run.history, variant, chosen.layer, chosen.step)
        for stage, values in ({} if found is None else found[1]).items():
            activation = run.config.activation if stage == "activation" else None
            rows.append(
                {
                    "variant": run.labels[variant],
                    "stage": _(STAGE_LABELS[stage]),
                    **shape_of(values, activation),
                    "dead": str(dead[variant]) if activation and variant in dead else "",
                }
            )
    if not rows:
        return
    st.markdown(_("**The step on show in numbers: {layer}**").format(layer=chosen.layer))
    frame = pd.DataFrame(rows)
    frame["saturated"] = ["" if np.isnan(share) else f"{share:.1%}" for share in frame["saturated"]]
    number: dict[str, Any] = {"format": "%.3f"}
    st.dataframe(
        frame,
        hide_index=True,
        height="content",
        column_config={
            "variant": st.column_config.TextColumn(_("variant")),
            "stage": st.column_config.TextColumn(_("stage")),
            "mean": st.column_config.NumberColumn(_("mean"), **number),
            "std": st.column_config.NumberColumn(_("standard deviation"), **number),
            "skew": st.column_config.NumberColumn(_("skew"), **number),
            "kurtosis": st.column_config.NumberColumn(_("excess kurtosis"), **number),
            "saturated": st.column_config.TextColumn(
                _("saturated"),
                help=_("Sigmoid: values whose derivative is below 1% of its maximum. ReLU: zeros."),
            ),
            "dead": st.column_config.TextColumn(
                _("dead channels"),
                help=_(
                    "Saturated for every probe image, at the stored weights nearest to this step."
                ),
            ),
        },
    )
    st.caption(
        _(
            "From 128 quantiles of the values at fixed places of a training batch: 2,048 of them, "
            "or all where a layer has fewer."
        )
    )
