"""Activations: what BN does to them over a run, by channel, on an image, and on the way back."""

import streamlit as st

from bnviz.app import runs
from bnviz.app.card_grid import board, figure_board, plainly
from bnviz.app.controls import choice_control, selection, selection_controls, slider_controls
from bnviz.app.preload import warm_up
from bnviz.app.task_panel import watch_run
from bnviz.i18n import _
from bnviz.subjects.activations import (
    channels_section,
    feature_maps_section,
    gradients_section,
    over_time_section,
)

GRADIENTS = (
    "activations/gradient_values",
    "activations/gradient_depth",
    "activations/gradient_curves",
)

warm_up()
run = runs.choose_run()
st.title(_("Activations"))
st.caption(
    _(
        "What enters each BN layer, what normalizing makes of it, what leaves it and what the "
        "activation passes on: probed while the run trained, or from its stored weights."
    )
)
st.caption(run.origin())
view = choice_control(
    _("View"),
    {
        "over_time": _("Over the steps"),
        "channels": _("By channel"),
        "image": _("On an image"),
        "backward": _("Backward"),
    },
    "view",
    help=_("Step, layer and channels in the sidebar act on every view."),
)
watch_run(run, checkpoints=view in ("channels", "image"))
needs = ("layer",) if view == "backward" else ("layer", "channels", "variant")
selection_controls(run, needs)


def over_time() -> None:
    """All stages over the steps, and the chosen step in numbers."""
    over_time_section.without_bn(run)
    with st.sidebar:
        stages, shown = over_time_section.over_time_controls()
    chosen = selection(run).model_copy(update=shown)
    over_time_section.too_few_channels(chosen)
    figure_board(
        run,
        chosen,
        [
            *(
                ("activations/over_time", {"stage": s})
                for s in stages
                if over_time_section.has_stage(run, s)
            ),
            "activations/stages",
            "activations/shift",
        ],
        key="activations",
    )
    over_time_section.shape_table(run, chosen)


def channels() -> None:
    """Every channel of the layer at the nearest checkpoint."""
    chosen = selection(run)
    over_time_section.too_few_channels(chosen)
    where = (run, run.variant(chosen.variant), chosen.layer, chosen.step)
    with plainly():
        cards = channels_section.channel_cards(*where, chosen.followed)
        board(cards, key="channel_cards", revision=run.id, on_pick=over_time_section.follow)
        channels_section.channel_table(*where, on_row=over_time_section.follow)


def image() -> None:
    """One image through the layer in both modes."""
    chosen = selection(run)
    over_time_section.too_few_channels(chosen)
    feature_maps_section.controls()
    asked, variant = feature_maps_section.choice(run), run.variant(chosen.variant)
    with plainly():
        feature_maps_section.batch_context(run, variant, feature_maps_section.batch_of(run, asked))
        cards = feature_maps_section.cards(
            run, variant, chosen.layer, chosen.step, chosen.followed, asked
        )
        board(cards, key="image", revision=run.id, on_pick=over_time_section.follow)


def backward() -> None:
    """Gradients at the layer and of the weights, if the run recorded them."""
    if not run.config.gradients:
        gradients_section.empty(run)
        return
    st.caption(gradients_section.cost(run))
    figure_board(run, selection(run), GRADIENTS, key="backward")


with st.sidebar:
    slider_controls(run, ("step",))
{"over_time": over_time, "channels": channels, "image": image, "backward": backward}[view]()
