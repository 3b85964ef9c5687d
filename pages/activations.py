"""Activations: what BN does to them over a run, by channel, on an image, and on the way back."""

import streamlit as st

from bnviz.app import playback, runs
from bnviz.app.card_grid import board, plainly
from bnviz.app.preload import warm_up
from bnviz.i18n import _
from bnviz.subjects.activations import (
    channels_section,
    feature_maps_section,
    gradients_section,
    over_time_section,
)

FIGURES = "activations"  # the key of the fragment that answers to the controls

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
view = over_time_section.view_control()
playing = playback.is_playing()
live = run.live
every = playback.TICK_S if playing else 1.0 if live else None


def over_time(chosen: over_time_section.Choice) -> None:
    """All stages over the steps, and the step on show in numbers."""
    over_time_section.without_bn(run)
    probe = channels_section.try_probe(run, chosen.variant, chosen.step, chosen.layer)
    board(over_time_section.cards(run, chosen, probe), key="activations", revision=run.id)
    over_time_section.shape_table(run, chosen)


def channels(chosen: over_time_section.Choice) -> None:
    """Every channel of the layer at the nearest checkpoint."""
    where = (run, chosen.variant, chosen.layer, chosen.step)
    cards = channels_section.channel_cards(*where, chosen.channel)
    board(cards, key="channels", revision=run.id, on_pick=over_time_section.follow)
    channels_section.channel_table(*where, on_row=over_time_section.follow)


def image(chosen: over_time_section.Choice) -> None:
    """One image through the layer in both modes."""
    asked = feature_maps_section.choice(run)
    feature_maps_section.company(run, chosen.variant, feature_maps_section.batch_of(run, asked))
    cards = feature_maps_section.cards(
        run, chosen.variant, chosen.layer, chosen.step, chosen.channel, asked
    )
    board(cards, key="image", revision=run.id, on_pick=over_time_section.follow)


def way_back(chosen: over_time_section.Choice) -> None:
    """Gradients at the layer and of the weights, if the run recorded them."""
    if not run.config.gradients:
        gradients_section.empty(run)
        return
    st.caption(gradients_section.cost(run))
    board(gradients_section.cards(run, chosen.layer, chosen.step), key="backward", revision=run.id)


VIEWS = {"over_time": over_time, "channels": channels, "image": image, "backward": way_back}


@st.fragment(run_every=every, key=FIGURES)
def figures() -> None:
    """One tick of the figures, or the answer to a control."""
    if run.job is not None:
        run.job.watch()
    playback.scrubber(run)
    chosen = over_time_section.choice(run)
    over_time_section.too_few_channels(chosen)
    with plainly():
        VIEWS[view](chosen)
    if (
        playback.is_playing() != playing
        or over_time_section.was_followed()
        or run.is_left()
        or run.live != live
    ):
        st.rerun()


over_time_section.controls(run, view, answers=FIGURES)
figures()
