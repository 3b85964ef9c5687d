"""Shift: both modes on test images that have changed."""

import numpy as np
import pandas as pd
import streamlit as st

from bnviz import data
from bnviz.app.card_grid import board
from bnviz.app.thumbnails import png
from bnviz.charts.card import Card
from bnviz.i18n import N_, _, sentences
from bnviz.subjects.modes.corruptions_figures import modes_by_kind, modes_over_strength
from bnviz.subjects.modes.mode_selection_section import (
    Sides,
    eval_options,
    eval_words,
    model_of,
    order_of,
    test_images,
)
from bnviz.training.run_view import RunView

HEIGHT = 400
EXAMPLES = 8
KINDS = {
    "brightness": N_("darker"),
    "contrast": N_("less contrast"),
    "noise": N_("noise"),
    "inverted": N_("inverted"),
    "rotated": N_("rotated"),
}

AT_FULL_STRENGTH = {
    "brightness": N_("a fifth of the light"),
    "contrast": N_("a tenth of the contrast"),
    "noise": N_("normal noise, its standard deviation half the range of a pixel"),
    "inverted": N_("the negative; less is a mixture of both"),
    "rotated": N_("turned by 90 degrees"),
}
GUESSING = 0.15
"""Accuracy up to which a mode is little better than a guess among ten classes."""


def show(run: RunView, sides: Sides) -> None:
    """One kind over its strengths, all kinds at full strength."""
    from bnviz.subjects.modes.corruptions import STRENGTHS

    kind = st.segmented_control(
        _("Change"), list(KINDS), default="brightness", required=True, key="shift_kind",
        bind="query-params", format_func=lambda k: _(KINDS[k]),
        help=_("What is done to the test images. Training saw none of it."),
    )  # fmt: skip
    curve = _over_strengths(sides, str(kind))
    at_most = pd.concat([_over_strengths(sides, each).tail(1) for each in KINDS])
    asked = f"{sides} {kind}"
    board(
        [_strength_card(run, sides, curve, str(kind), asked), _kinds_card(sides, at_most, asked)],
        key="shift", revision=run.id,
    )  # fmt: skip
    strength = st.slider(
        _("Strength of the examples"), 0.0, 1.0, 0.5, 0.25, key="shift_strength",
        bind="query-params", width=240,
        help=_("The figures have all {n} strengths; this chooses the pictures below.").format(
            n=len(STRENGTHS)
        ),
    )  # fmt: skip
    _examples(sides, str(kind), strength)


def _examples(sides: Sides, kind: str, strength: float) -> None:
    import torch

    from bnviz.subjects.modes.corruptions import shifted

    images, _labels = test_images(sides.dataset, sides.images)
    changed = shifted(torch.tensor(images[:EXAMPLES]), kind, strength).numpy()
    with st.container(horizontal=True, gap="xsmall"):
        for image in changed:
            st.image(png(255 - image), width=56)
    st.caption(
        _("As the network gets them, light on dark. {kind} at strength 1: {words}.").format(
            kind=_(KINDS[kind]).capitalize(), words=_(AT_FULL_STRENGTH[kind])
        )
    )


@st.cache_data(max_entries=128, show_spinner=False)
def _over_strengths(sides: Sides, kind: str) -> pd.DataFrame:
    import torch

    from bnviz.subjects.modes.corruptions import modes_under_shift

    images, labels = test_images(sides.dataset, sides.images)
    return modes_under_shift(
        model_of(sides), torch.tensor(images), labels, kind=kind, batch_size=sides.batch_size,
        order=order_of(sides), **eval_options(sides),
    )  # fmt: skip


def _strength_card(run: RunView, sides: Sides, curve: pd.DataFrame, kind: str, asked: str) -> Card:
    last = curve.iloc[-1]
    ahead = curve[_ahead(curve)]
    first = (
        _("Train mode is ahead by more than chance at strength {at}.").format(
            at=", ".join(f"{strength:g}" for strength in ahead["strength"])
        )
        if len(ahead)
        else _("Train mode is ahead by more than chance at no strength.")
    )
    return Card(
        key="shift_strength",
        title=(
            _("Train mode wins on changed images: {kind}")
            if len(ahead)
            else _("Train mode is not ahead on changed images: {kind}")
        ).format(kind=_(KINDS[kind])),
        figure=modes_over_strength(curve),
        sentence=sentences(_(
            "{label}, batches of {batch}: at full strength train mode has {train:.1%}, eval mode "
            "({words}) {eval:.1%}."
        ).format(
            label=run.labels[sides.variant], batch=sides.batch_size, train=last["train"],
            words=eval_words(sides), eval=last["eval"],
        ), first),
        alt=_("Accuracy of both modes over the strength of the change"),
        height=HEIGHT,
        asked=asked,
    )  # fmt: skip


def _ahead(frame: pd.DataFrame) -> pd.Series:
    """Where train mode is ahead by more than chance, and better than a guess."""
    return (frame["ahead"] > 0) & frame["clear"] & (frame["train"] > GUESSING)


def _kinds_card(sides: Sides, frame: pd.DataFrame, asked: str) -> Card:
    gains = 100 * frame["ahead"]
    best = frame.iloc[int(np.argmax(gains))]
    wins = int(_ahead(frame).sum())
    lost = frame[frame[["train", "eval"]].max(axis=1) < GUESSING]["kind"]
    guesses = (
        _(
            "On {kinds} both modes are close to guessing ({guessing:.0%}) or worse, so the order "
            "says nothing."
        ).format(kinds=", ".join(_(KINDS[kind]) for kind in lost), guessing=1 / len(data.CLASSES))
        if len(lost)
        else ""
    )
    return Card(
        key="shift_kinds",
        title=_("Train mode is ahead on {n} of {total} changes at full strength").format(
            n=wins, total=len(frame)
        ),
        figure=modes_by_kind(frame, [_(KINDS[kind]) for kind in frame["kind"]]),
        sentence=sentences(
            _(
                "Most on {kind}: {gain:+.1f} points. Batch statistics adapt to the new mean and "
                "variance; running statistics still describe the training images."
            ).format(kind=_(KINDS[best["kind"]]), gain=float(gains.max())),
            guesses,
        ),
        alt=_("Accuracy of both modes on each kind of changed images"),
        height=HEIGHT,
        asked=asked,
    )
