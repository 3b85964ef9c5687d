"""Activations over the run: all stages over the steps, one step in numbers, how far they move."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import streamlit as st

from bnviz.app.controls import choice_control
from bnviz.app.rerun_button import beside_none, train_again, with_changes
from bnviz.charts.theme import STAGE_LABELS
from bnviz.i18n import _
from bnviz.nn.variants import VARIANTS
from bnviz.records.reading import (
    stage_quantiles,
)
from bnviz.records.schema import LAYERS, QUANTILES, SAMPLED_VALUES, STAGES
from bnviz.selection import Selection
from bnviz.subjects.activations.channels_section import dead_channels
from bnviz.subjects.activations.distribution_shift import SATURATED, shape_of
from bnviz.training.run_view import RunView

if TYPE_CHECKING:
    pass


def over_time_controls() -> tuple[list[str], dict[str, Any]]:
    """For the sidebar: the stages to show over the steps, and how, as fields of `Selection`."""
    names = {"heatmap": _("side by side"), "bands": _("overlaid"), "ridges": _("ridges")}
    stages = st.pills(
        _("Stages over the steps"), list(STAGES), selection_mode="multi",
        default=["input", "scaled"], key="stages", bind="query-params",
        format_func=lambda stage: _(STAGE_LABELS[stage]),
        help=_("Each on bins and an axis that all variants share."),
    )  # fmt: skip
    shown_as = choice_control(
        _("Shown as"), names, "shown_as",
        help=_("Heatmaps with quantile bands, bands laid over each other, or some steps as ridges."),
    )  # fmt: skip
    one_axis = st.toggle(
        _("Before and after on one axis"), True, key="one_axis", bind="query-params",
        help=_("Off: each stage fills its own axis."),
    )  # fmt: skip
    return [s for s in STAGES if s in stages], {"shown_as": shown_as, "one_axis": one_axis}


def follow(channel: int) -> None:
    """In a callback: let all figures follow this channel."""
    st.session_state["channels"] = [channel]


def too_few_channels(chosen: Selection) -> None:
    """Say so when the layer has not the channel that is asked for."""
    if chosen.channels and chosen.followed is None:
        st.caption(
            _("{layer} has the channels 0 to {last}, so channel {asked} is not drawn here.").format(
                layer=chosen.layer, last=LAYERS[chosen.layer] - 1, asked=chosen.channels[0]
            )
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


def shape_table(run: RunView, chosen: Selection) -> None:
    """Mean, spread, skew, kurtosis and saturated share of each stage at the chosen step."""
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
    st.markdown(
        _("**The chosen step in numbers: {layer}**").format(layer=chosen.layer),
        help=_(
            "From {quantiles} quantiles of the values at fixed places of a training batch: "
            "{values:,} of them, or all where a layer has fewer."
        ).format(quantiles=QUANTILES, values=SAMPLED_VALUES),
    )
    frame = pd.DataFrame(rows)
    frame["saturated"] = ["" if np.isnan(share) else f"{share:.1%}" for share in frame["saturated"]]
    number: dict[str, Any] = {"format": "%.3f"}
    st.dataframe(
        frame,
        hide_index=True,
        height="content",
        row_height=26,
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
                    "Sigmoid: values whose derivative is below {share:.0%} of its maximum. ReLU: zeros."
                ).format(share=SATURATED),
            ),
            "dead": st.column_config.TextColumn(
                _("dead channels"),
                help=_(
                    "Saturated for every probe image, at the stored weights nearest to this step."
                ),
            ),
        },
    )


def has_stage(run: RunView, stage: str) -> bool:
    """Whether any network of the run has that stage: without BN there is none to normalize."""
    with_bn = any(VARIANTS[v].normalizes for v in run.config.variants)
    return with_bn or stage in ("input", "activation")
