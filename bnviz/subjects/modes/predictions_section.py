"""Predictions: the same test images through both modes, in numbers, figures and a table."""

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from bnviz import data
from bnviz.app.card_grid import board
from bnviz.app.thumbnails import png
from bnviz.charts.card import Card
from bnviz.i18n import _
from bnviz.nn.variants import VARIANTS
from bnviz.subjects.modes.mode_selection_section import Sides, eval_words, frame_of, test_images
from bnviz.subjects.modes.predictions_figures import accuracy_by_class, probability_of_truth
from bnviz.training.run_view import RunView

ROWS = 60


def show(run: RunView, sides: Sides) -> None:
    """Metrics, both figures and the images."""
    frame = frame_of(sides)
    _metrics(frame, sides)
    board(_cards(run, frame, sides), key="modes", revision=run.id)
    _image_table(frame, sides)


def _metrics(frame: pd.DataFrame, sides: Sides) -> None:
    """Accuracy of both modes with standard errors, and the paired counts."""
    from bnviz.evaluation.inference import standard_error
    from bnviz.evaluation.modes import paired_counts

    count = len(frame)
    pairs = paired_counts(frame)
    with st.container(horizontal=True, gap="small"):
        for label, side, text in (
            (
                _("Train mode, batches of {n}").format(n=sides.batch_size),
                "train",
                _("Share of right answers; ± is one standard error over {n:,} images."),
            ),
            (
                _("Eval mode"),
                "eval",
                _("With {words}; ± is one standard error over {n:,} images."),
            ),
        ):
            accuracy = float(frame[f"{side}_right"].mean())
            st.metric(
                label,
                f"{accuracy:.1%} ± {standard_error(accuracy, count):.1%}",
                border=True,
                help=text.format(n=count, words=eval_words(sides)),
            )
        for label, value, text in (
            (
                _("Predictions differ"),
                _("{n} of {total:,}").format(n=int(frame["differ"].sum()), total=count),
                _("Images that the two modes predict differently."),
            ),
            (
                _("Only one mode right"),
                _("{only_train} train · {only_eval} eval").format(**pairs),
                _("Images that only one of the modes gets right."),
            ),
            (
                _("Both or none right"),
                _("{both} both · {none} none").format(**pairs),
                _("Images on which the mode does not matter."),
            ),
        ):
            st.metric(label, value, border=True, help=text)


def _cards(run: RunView, frame: pd.DataFrame, sides: Sides) -> list[Card]:
    """Each image's probability of the truth, and accuracy by class."""
    names = tuple(_(name) for name in data.CLASSES)
    by_class = frame.groupby("label")[["train_right", "eval_right"]].mean()
    worst: Any = (by_class["eval_right"] - by_class["train_right"]).abs().idxmax()
    return [
        Card(
            key="truth",
            title=_("Off the diagonal, the mode changes the probability of the true class"),
            figure=probability_of_truth(frame, names),
            sentence=gap_sentence(run, frame, sides),
            alt=_("Probability of the true class in train mode and in eval mode, a dot an image"),
            height=430,
            asked=f"{sides}",
        ),
        Card(
            key="by_class",
            title=_("Which classes the mode changes"),
            figure=accuracy_by_class(frame, names),
            sentence=_(
                "Largest gap: {name}, {train:.0%} in train mode, {eval:.0%} in eval mode."
            ).format(
                name=names[worst],
                train=by_class.loc[worst, "train_right"],
                eval=by_class.loc[worst, "eval_right"],
            ),
            alt=_("Accuracy of each class in train mode and in eval mode"),
            height=430,
            asked=f"{sides}",
        ),
    ]


def gap_sentence(run: RunView, frame: pd.DataFrame, sides: Sides) -> str:
    """Which mode is ahead by how much, and whether that is more than chance."""
    if not VARIANTS[sides.variant].normalizes:
        return _("{label} has no BN: both modes compute the same, image by image.").format(
            label=run.labels[sides.variant]
        )
    from bnviz.evaluation.chance import paired_difference
    from bnviz.evaluation.modes import paired_counts

    pairs = paired_counts(frame)
    gap = paired_difference(pairs["only_train"], pairs["only_eval"], len(frame))
    words = {
        "label": run.labels[sides.variant],
        "step": sides.step,
        "batch": sides.batch_size,
        "points": 100 * abs(gap.value),
        "error": 100 * gap.error,
        "n": int(frame["differ"].sum()),
        "total": len(frame),
    }
    if not gap.clear:
        text = _(
            "{label} at step {step:,}: the modes are {points:.1f} ± {error:.1f} points apart, "
            "no more than chance; still {n} of {total:,} images get another prediction."
        )
    elif gap.value > 0:
        text = _(
            "{label} at step {step:,}: train mode at batch {batch} is {points:.1f} ± "
            "{error:.1f} points below eval mode; {n} of {total:,} images get another "
            "prediction."
        )
    else:
        text = _(
            "{label} at step {step:,}: eval mode is {points:.1f} ± {error:.1f} points below "
            "train mode at batch {batch}; {n} of {total:,} images get another prediction."
        )
    return text.format(**words)


def _image_table(frame: pd.DataFrame, sides: Sides) -> None:
    """The images with both predictions; which ones is the reader's choice."""
    filters = {
        "differ": (_("predictions differ"), frame["differ"]),
        "train": (_("only train right"), frame["train_right"] & ~frame["eval_right"]),
        "eval": (_("only eval right"), frame["eval_right"] & ~frame["train_right"]),
        "all": (_("all"), pd.Series(True, frame.index)),
    }
    st.subheader(_("The same images, both predictions"))
    chosen = st.segmented_control(
        _("Show images where"), list(filters), default="differ", required=True, key="prediction_filter",
        bind="query-params", format_func=lambda name: filters[name][0],
        help=_("At most {rows} rows are shown.").format(rows=ROWS),
    )  # fmt: skip
    rows = frame[filters[chosen][1]].head(ROWS)
    if rows.empty:
        st.info(_("No image: both modes agree here."))
        return
    images, _labels = test_images(sides.dataset, sides.images)
    names = np.array([_(name) for name in data.CLASSES])
    table = pd.DataFrame(
        {
            "image": [png(images[i]) for i in rows.index],
            "number": rows.index,
            "truth": names[rows["label"]],
            "train": names[rows["train_prediction"]],
            "train_p": 100 * rows["train_probability"],
            "eval": names[rows["eval_prediction"]],
            "eval_p": 100 * rows["eval_probability"],
            "logits": rows["logit_difference"],
        }
    )
    percent: dict[str, Any] = {"format": "%.0f %%", "min_value": 0, "max_value": 100}
    st.dataframe(
        table,
        hide_index=True,
        row_height=44,
        height=min(420, 44 * len(table) + 40),
        column_config={
            "image": st.column_config.ImageColumn(_("image"), width="small"),
            "number": st.column_config.NumberColumn(_("index"), width="small"),
            "truth": st.column_config.TextColumn(_("label")),
            "train": st.column_config.TextColumn(_("prediction (train)")),
            "train_p": st.column_config.ProgressColumn(_("confidence (train)"), **percent),
            "eval": st.column_config.TextColumn(_("prediction (eval)")),
            "eval_p": st.column_config.ProgressColumn(_("confidence (eval)"), **percent),
            "logits": st.column_config.NumberColumn(
                _("logit difference"),
                format="%.2f",
                help=_("The largest difference over the classes."),
            ),
        },
    )
