"""Batch context: the same image in many random batches of train mode."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from bnviz import data
from bnviz.app.card_grid import board
from bnviz.app.thumbnails import png
from bnviz.charts.card import Card
from bnviz.i18n import N_, _, sentences
from bnviz.subjects.modes.batch_context_figures import (
    accuracy_by_batch,
    logits_by_class,
    predictions,
)
from bnviz.subjects.modes.mode_selection_section import (
    BATCH_SIZES,
    Sides,
    eval_options,
    eval_words,
    frame_of,
    model_of,
    order_of,
    test_images,
)
from bnviz.training.run_view import RunView

COUNT = 200
HEIGHT = 340
NOTICEABLE = 0.01
"""Share of the images, of a thousand ten, by which accuracy must vary before a title says so."""
THUMBNAILS = 15
FLIPPING = 3
"""Batches that change the prediction and are shown."""
KINDS = {
    "random": N_("random"),
    "same class": N_("same class"),
    "another class": N_("one other class"),
    "copies": N_("copies of itself"),
    "black": N_("black images"),
}
BLACK = np.zeros((28, 28), np.uint8)
SIZES = tuple(size for size in BATCH_SIZES if size <= 256)


@dataclass(frozen=True)
class Asked:
    """Which image in which batches."""

    image: int
    kind: str
    batch_size: int
    draw: int


def show(run: RunView, sides: Sides) -> None:
    """Controls, figures, the batches that change the prediction. Raises ConfigError for bad choices."""
    images, labels = test_images(sides.dataset, 10_000)
    asked = _controls(sides, images)
    found, evaluated = _random_batches(sides.train_only(), asked), _eval_logits(sides, asked.image)
    name = _(data.CLASSES[labels[asked.image]])
    st.markdown(_context_words(asked, name, found, evaluated))
    cards = [
        _logits_card(found, evaluated, name, sides, asked),
        _predictions_card(found, evaluated, name, sides, asked),
        _batch_card(run, sides, f"{sides}"),
    ]
    board(cards, key="batch_context", revision=run.id)
    _flips(found, evaluated, images, labels, asked)


def _controls(sides: Sides, images: np.ndarray) -> Asked:
    """Image, rest of the batch, batch size and draw; at first an image on which the modes disagree."""
    first = int(frame_of(sides)["differ"].to_numpy().argmax())
    last = len(data.load(sides.dataset).test_labels) - 1
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
        kind = st.segmented_control(
            _("Rest of the batch"), list(KINDS), default="random", required=True,
            key="context_kind", wrap=True, bind="query-params", format_func=lambda k: _(KINDS[k]),
            help=_("Which images fill each of the {n} batches that contain this image.").format(
                n=COUNT
            ),
        )  # fmt: skip
        image = st.number_input(
            _("Test image"), 0, 9999, first, key="context_image", bind="query-params", width=110,
            help=_("Its number in the test set."),
        )  # fmt: skip
        image = min(int(image), last)
        st.image(png(images[image]), width=40)
        size = st.select_slider(
            _("Batch size"), SIZES, value=16, key="context_batch",
            bind="query-params", width=140, help=_(
                "The image and the rest of its batch together."
            ),
        )  # fmt: skip
        draw = st.number_input(
            _("Draw"), 0, 999, 0, key="context_draw", bind="query-params", width=80,
            help=_("Another number draws other batches."),
        )  # fmt: skip
    return Asked(image, str(kind), int(size), int(draw))


@st.cache_data(max_entries=32, show_spinner=False)
def _random_batches(sides: Sides, asked: Asked) -> pd.DataFrame:
    import torch

    from bnviz.evaluation.batch_context import random_contexts

    images, labels = test_images(sides.dataset, 10_000)
    return random_contexts(
        model_of(sides), torch.tensor(images), labels, asked.image, kind=asked.kind,
        batch_size=asked.batch_size, count=COUNT, seed=asked.draw * COUNT,
    )  # fmt: skip


@st.cache_data(max_entries=64, show_spinner=False)
def _eval_logits(sides: Sides, image: int) -> np.ndarray:
    """Logits (10,) of the image on the eval side; layers that use the batch find it at its place."""
    import torch

    from bnviz.evaluation.modes import eval_side

    images, _labels = test_images(sides.dataset, 10_000)
    batch = np.arange(image, image + max(sides.batch_size, 2)) % len(images)
    return eval_side(
        model_of(sides), torch.tensor(images[batch]), batch_size=max(sides.batch_size, 2),
        **eval_options(sides),
    )[0]  # fmt: skip


@st.cache_data(max_entries=32, show_spinner=False)
def _by_batch(sides: Sides) -> dict[int, float]:
    """Accuracy in train mode, 0 to 1, by batch size."""
    import torch

    from bnviz.evaluation.modes import train_side

    images, labels = test_images(sides.dataset, sides.images)
    model, order, given = model_of(sides), order_of(sides), torch.tensor(images)
    sides_by_size = {n: train_side(model, given, batch_size=n, order=order) for n in SIZES}
    return {n: float((side.argmax(1) == labels).mean()) for n, side in sides_by_size.items()}


def _context_words(asked: Asked, name: str, found: pd.DataFrame, evaluated: np.ndarray) -> str:
    counts = Counter(_(data.CLASSES[k]) for k in found["prediction"])
    said = ", ".join(f"{word} × {n}" for word, n in counts.most_common(3))
    return _(
        "Image {image}, **{name}**. Predictions in {n} random batches of {size}: {said}; in eval "
        "mode: {evaluated}."
    ).format(
        image=asked.image,
        name=name,
        n=len(found),
        size=asked.batch_size,
        said=said,
        evaluated=_(data.CLASSES[int(evaluated.argmax())]),
    )


def _logits_card(
    found: pd.DataFrame, evaluated: np.ndarray, name: str, sides: Sides, asked: Asked
) -> Card:
    logits = found[[f"logit_{k}" for k in range(10)]].to_numpy()
    truth = list(map(_, data.CLASSES)).index(name)
    return Card(
        key="context_logits",
        title=_("One image in {n} batches: how far its logits vary").format(n=len(found)),
        figure=logits_by_class(logits, evaluated, tuple(_(c) for c in data.CLASSES)),
        sentence=_(
            "The rest of the batch alone spreads the logit of {name} by ±{spread:.2f} around "
            "{mean:.2f}; in eval mode, where it does not matter, the logit is {own:.2f}."
        ).format(
            name=name,
            spread=float(logits[:, truth].std()),
            mean=float(logits[:, truth].mean()),
            own=float(evaluated[truth]),
        ),
        alt=_("Distribution of the logit of each class over the random batches"),
        height=HEIGHT,
        asked=f"{sides} {asked}",
    )


def _predictions_card(
    found: pd.DataFrame, evaluated: np.ndarray, name: str, sides: Sides, asked: Asked
) -> Card:
    counts = found["prediction"].value_counts().reindex(range(10), fill_value=0)
    right, kinds = float(found["right"].mean()), int((counts > 0).sum())
    return Card(
        key="context_predictions",
        title=_("Predictions in the random batches"),
        figure=predictions(counts, tuple(_(c) for c in data.CLASSES), name, len(found)),
        sentence=(
            _("{right:.0%} of the batches get {name} right; {kinds} different predictions in all.")
            if kinds > 1
            else _("All batches agree; {right:.0%} of them get {name} right.")
        ).format(right=right, name=name, kinds=kinds),
        alt=_("How many random batches lead to each predicted class"),
        height=HEIGHT,
        asked=f"{sides} {asked}",
    )


def _batch_card(run: RunView, sides: Sides, asked: str) -> Card:
    accuracy = _by_batch(replace(sides.train_only(), batch_size=0))
    frame = frame_of(sides)
    evaluated = float(frame["eval_right"].mean())
    small, large = SIZES[0], SIZES[-1]
    return Card(
        key="by_batch",
        title=(
            _("Train mode depends on the batch size, eval mode does not")
            if max(accuracy.values()) - min(accuracy.values()) > NOTICEABLE
            else _("Train mode by the batch size, beside eval mode")
        ),
        figure=accuracy_by_batch(accuracy, evaluated, sides.batch_size),
        sentence=_(
            "{label} on {n:,} test images: {at_small:.1%} in batches of {small}, {at_large:.1%} in "
            "batches of {large}; eval mode ({words}) {evaluated:.1%}."
        ).format(
            label=run.labels[sides.variant],
            n=sides.images,
            small=small,
            at_small=accuracy[small],
            large=large,
            at_large=accuracy[large],
            words=eval_words(sides),
            evaluated=evaluated,
        ),
        alt=_("Accuracy in train mode over the batch size, with eval mode as a line"),
        height=HEIGHT,
        asked=asked,
        wide=True,
    )


def _flips(
    found: pd.DataFrame,
    evaluated: np.ndarray,
    images: np.ndarray,
    labels: np.ndarray,
    asked: Asked,
) -> None:
    """The batches in which the prediction is another than in eval mode, the surest first."""
    answer = int(evaluated.argmax())
    flipped = found[found["prediction"] != answer]
    st.subheader(_("Batches that change the prediction"))
    if flipped.empty:
        st.info(
            _(
                "Every batch gives the same prediction as eval mode. Try a smaller batch size "
                "or another rest of the batch."
            )
        )
        return
    logits = flipped[[f"logit_{k}" for k in range(10)]].to_numpy()
    margin = logits.max(1) - logits[:, answer]
    st.caption(_flip_words(found, flipped, labels, asked))
    for number, row in flipped.iloc[np.argsort(-margin)[:FLIPPING]].iterrows():
        with st.container(horizontal=True, gap="xsmall", vertical_alignment="center"):
            st.markdown(
                _("Batch {number}: predicted **{name}**").format(
                    number=number, name=_(data.CLASSES[row["prediction"]])
                ),
                width=190,
            )
            for other in row["neighbours"][:THUMBNAILS]:
                st.image(png(images[other] if other >= 0 else BLACK), width=36)


def _flip_words(
    found: pd.DataFrame, flipped: pd.DataFrame, labels: np.ndarray, asked: Asked
) -> str:
    """How many flip it, and which class is there more often when they do."""
    words = _("{n} of {total} batches give another prediction than eval mode.").format(
        n=len(flipped), total=len(found)
    )
    kept = found.drop(flipped.index)
    if asked.kind != "random" or kept.empty:
        return words
    shares: list[Any] = [
        np.bincount(labels[np.concatenate(list(map(np.array, rows["neighbours"])))], minlength=10)
        / (len(rows) * (asked.batch_size - 1))
        for rows in (flipped, kept)
    ]
    most = int((shares[0] - shares[1]).argmax())
    return sentences(
        words,
        _(
            "{name} makes up {often:.0%} of the other images there, and {else_:.0%} where the "
            "prediction stays."
        ).format(name=_(data.CLASSES[most]), often=shares[0][most], else_=shares[1][most]),
    )
