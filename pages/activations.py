"""Activations: what BN does to them over a run, by channel, on an image, and on the way back."""

import streamlit as st

from bnviz.i18n import _
from bnviz.ui import activations, backward, inside, on_image, runs, scrubber
from bnviz.ui.board import board, plainly
from bnviz.ui.warm import warm_up

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
view = activations.view_control()
playing = scrubber.is_playing()
live = run.live
every = scrubber.TICK_S if playing else 1.0 if live else None


def over_time(chosen: activations.Choice) -> None:
    """All stages over the steps, and the step on show in numbers."""
    activations.without_bn(run)
    probe = inside.try_probe(run, chosen.variant, chosen.step, chosen.layer)
    board(activations.cards(run, chosen, probe), key="activations", revision=run.id)
    activations.shape_table(run, chosen)


def channels(chosen: activations.Choice) -> None:
    """Every channel of the layer at the nearest checkpoint."""
    where = (run, chosen.variant, chosen.layer, chosen.step)
    cards = inside.channel_cards(*where, chosen.channel)
    board(cards, key="channels", revision=run.id, on_pick=activations.follow)
    inside.channel_table(*where, on_row=activations.follow)


def image(chosen: activations.Choice) -> None:
    """One image through the layer in both modes."""
    asked = on_image.choice(run)
    on_image.company(run, chosen.variant, on_image.batch_of(run, asked))
    cards = on_image.cards(run, chosen.variant, chosen.layer, chosen.step, chosen.channel, asked)
    board(cards, key="image", revision=run.id, on_pick=activations.follow)


def way_back(chosen: activations.Choice) -> None:
    """Gradients at the layer and of the weights, if the run recorded them."""
    if not run.config.gradients:
        backward.empty(run)
        return
    st.caption(backward.cost(run))
    board(backward.cards(run, chosen.layer, chosen.step), key="backward", revision=run.id)


VIEWS = {"over_time": over_time, "channels": channels, "image": image, "backward": way_back}


@st.fragment(run_every=every, key=FIGURES)
def figures() -> None:
    """One tick of the figures, or the answer to a control."""
    if run.job is not None:
        run.job.watch()
    scrubber.scrubber(run)
    chosen = activations.choice(run)
    activations.too_few_channels(chosen)
    with plainly():
        VIEWS[view](chosen)
    if (
        scrubber.is_playing() != playing
        or activations.was_followed()
        or run.is_left()
        or run.live != live
    ):
        st.rerun()


activations.controls(run, view, answers=FIGURES)
figures()
