"""Activations over the run: heatmaps of all stages, one step in numbers, how far they move."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from bnviz.analysis.drift import drift, shape_of
from bnviz.figures.over_time import BANDS, drift_over_steps, heatmaps_over_steps
from bnviz.figures.stages import bin_edges
from bnviz.figures.theme import STAGE_LABELS
from bnviz.i18n import _
from bnviz.train.reading import (
    density,
    probe_steps,
    stage_history,
    stage_quantiles,
    stage_range,
)
from bnviz.train.schema import LEVELS, STAGES
from bnviz.ui.live import Card
from bnviz.ui.runs import RunView
from bnviz.ui.views import answered_by, layer_control, stages_card

HEIGHT = 300
TICK_S = 0.7
PLAYING = "probe_playing"  # when the play made its last step, None while it rests
STEP = "probe_step"


@dataclass(frozen=True)
class Choice:
    """The layer, the stages whose heatmaps are shown, and the step of the scrubber."""

    layer: str
    stages: tuple[str, ...]
    step: int | None


def steps_of(run: RunView) -> list[int]:
    """The probed steps to choose from, ascending; none before the first probe."""
    return probe_steps(run.history, run.config.variants[0]).tolist()


@st.fragment
def controls(run: RunView, *, answers: str) -> None:
    """Layer and stages; `answers` is the key of the fragment with the figures."""

    changed = answered_by(run, answers)
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        layer_control("act_layer", "conv2", changed)
        st.pills(
            _("Stages over time"), list(STAGES), selection_mode="multi",
            default=["input", "scaled"], key="act_stages", bind="query-params",
            on_change=changed, format_func=lambda stage: _(STAGE_LABELS[stage]),
            help=_("Each on bins and an axis that all variants share."),
        )  # fmt: skip


def scrubber(run: RunView) -> None:
    """The step slider that all figures of the page follow, and a button that moves it."""
    steps = steps_of(run)
    if len(steps) < 2:
        return
    if is_playing():
        _advance(steps)
    playing = is_playing()
    if st.session_state.get(STEP) not in steps:
        st.session_state.pop(STEP, None)
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
        st.button(
            _("Stop") if playing else _("Play"), key="probe_play",
            icon=":material/pause:" if playing else ":material/play_arrow:",
            on_click=_toggle, args=(not playing, steps),
            help=_("Walk through the probed steps, a step each {seconds:g} s.").format(
                seconds=TICK_S
            ),
        )  # fmt: skip
        st.select_slider(
            _("Step on show"), steps, value=steps[-1], key=STEP, bind="query-params", width=460,
            help=_("All figures of this page show this step."),
        )  # fmt: skip


def is_playing() -> bool:
    """Whether the steps walk by themselves."""
    return st.session_state.get(PLAYING) is not None


def _toggle(play: bool, steps: list[int]) -> None:
    st.session_state[PLAYING] = time.monotonic() if play else None
    if play and st.session_state.get(STEP, steps[-1]) == steps[-1]:
        st.session_state[STEP] = steps[0]


def _advance(steps: list[int]) -> None:
    """One step further, if it is time; at the end the play is over."""
    now = time.monotonic()
    if now - st.session_state[PLAYING] < 0.8 * TICK_S:  # another control ran the figures
        return
    at = st.session_state.get(STEP, steps[-1])
    later = [step for step in steps if step > at]
    st.session_state[PLAYING] = now if later else None
    if later:
        st.session_state[STEP] = later[0]


def choice() -> Choice:
    """What the controls say."""
    chosen = st.session_state
    stages = tuple(stage for stage in STAGES if stage in chosen["act_stages"])
    return Choice(chosen["act_layer"], stages, chosen.get(STEP))


def cards(run: RunView, chosen: Choice) -> list[Card]:
    """All figures of the page."""
    return [
        *(_heatmap_card(run, chosen, stage) for stage in chosen.stages),
        stages_card(run, chosen.layer, chosen.step),
        _drift_card(run, chosen),
    ]


def _heatmap_card(run: RunView, chosen: Choice, stage: str) -> Card:
    edges = bin_edges(*stage_range(run.config, run.history, chosen.layer, stage))
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
        sentence = _("Where 90 % of the values lie, first and last probe. {variants}.").format(
            variants="; ".join(words)
        )
    return Card(
        key=f"heat_{stage}",
        title=_("{layer} over the steps, {stage}").format(
            stage=_(STAGE_LABELS[stage]), layer=chosen.layer
        ),
        figure=heatmaps_over_steps(stages, edges, run.labels, chosen.step),
        sentence=sentence,
        alt=_("Heatmap of a stage of the layer over the steps, a panel a variant"),
        height=HEIGHT,
        asked=f"{chosen}",
    )


def _drift_card(run: RunView, chosen: Choice) -> Card:
    drifts = {
        variant: drift(*stage_history(run.config, run.history, variant, chosen.layer, "input"))
        for variant in run.config.variants
    }
    measured = {v: f for v, f in drifts.items() if f["moved"].notna().any()}
    sentence = _("Two probes are needed to see anything move.")
    if measured:
        moves = "; ".join(
            _("{label} {moved:.3g}, which is {relative:.0%} of their spread").format(
                label=run.labels[variant],
                moved=frame["moved"].median(),
                relative=frame["moved"].median() / max(frame["spread"].median(), 1e-12),
            )
            for variant, frame in measured.items()
        )
        sentence = _(
            "Wasserstein distance, measured on this run. From one probe to the next the inputs "
            "moved by (median) {moves}."
        ).format(moves=moves)
    return Card(
        key="drift",
        title=_("How far the inputs of {layer} move").format(layer=chosen.layer),
        figure=drift_over_steps(drifts, run.labels, run.history.events),
        sentence=sentence,
        alt=_("Wasserstein distance of a layer's inputs to the probe before and to the last one"),
        height=430,
        asked=f"{chosen}",
    )


def shape_table(run: RunView, chosen: Choice) -> None:
    """Mean, spread, skew, kurtosis and saturated share of each stage at the step on show."""
    rows = []
    for variant in run.config.variants:
        found = stage_quantiles(run.config, run.history, variant, chosen.layer, chosen.step)
        for stage, values in ({} if found is None else found[1]).items():
            activation = run.config.activation if stage == "activation" else None
            rows.append(
                {
                    "variant": run.labels[variant],
                    "stage": _(STAGE_LABELS[stage]),
                    **shape_of(values, activation),
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
        height=36 * len(frame) + 40,
        column_config={
            "variant": st.column_config.TextColumn(_("variant")),
            "stage": st.column_config.TextColumn(_("stage")),
            "mean": st.column_config.NumberColumn(_("mean"), **number),
            "std": st.column_config.NumberColumn(_("standard deviation"), **number),
            "skew": st.column_config.NumberColumn(_("skew"), **number),
            "kurtosis": st.column_config.NumberColumn(_("excess kurtosis"), **number),
            "saturated": st.column_config.TextColumn(
                _("saturated"),
                help=_(
                    "Sigmoid: values whose derivative is below 1 % of its maximum. ReLU: zeros."
                ),
            ),
        },
    )
    st.caption(_("From 128 quantiles of 2,048 values at fixed places of a training batch."))
