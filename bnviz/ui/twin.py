"""Train vs eval: choose, compute once, show. Torch is loaded on the first comparison."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from bnviz import data
from bnviz.errors import RunError
from bnviz.figures.twin import accuracy_by_class, probability_of_truth
from bnviz.i18n import _
from bnviz.nn.variants import VARIANTS
from bnviz.train.reading import replayed_statistics
from bnviz.ui.live import Card
from bnviz.ui.pictures import png
from bnviz.ui.runs import RunView, view

BATCH_SIZES = (2, 4, 8, 16, 32, 64, 128, 256, 500)
IMAGES = 1000
ROWS = 60


@dataclass(frozen=True)
class Choice:
    """What the reader compares."""

    variant: str
    step: int | None
    batch_size: int
    neighbours: str


@dataclass(frozen=True)
class Pair:
    """Both sides at one checkpoint."""

    step: int
    choice: Choice
    frame: pd.DataFrame
    images: np.ndarray
    asked: str
    """All that the reader chose, so that a change is answered at once."""


def controls(run: RunView) -> Choice:
    """Variant, checkpoint, batch size and neighbours of the train side."""
    names = {
        "shuffled": _("random"),
        "as they come": _("file order"),
        "same class": _("same class"),
    }
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        variants = list(run.config.variants)
        if st.session_state.get("twin_variant") not in variants:
            st.session_state.pop("twin_variant", None)
        variant = st.segmented_control(
            _("Variant"), variants, default=run.default_variant, required=True, key="twin_variant",
            bind="query-params", format_func=lambda v: _(VARIANTS[v].label),
            help=_("Whose weights and running statistics are used."),
        )  # fmt: skip
        steps = [0, *run.source.checkpoints(variant)]
        if st.session_state.get("checkpoint") not in steps:
            st.session_state.pop("checkpoint", None)
        step = st.selectbox(
            _("Checkpoint"), steps, key="checkpoint", bind="query-params", width=150,
            format_func=lambda s: _("step {step}").format(step=s) if s else _("newest"),
            help=_("The training step whose weights are used."),
        )  # fmt: skip
        batch_size = st.select_slider(
            _("Batch size in train mode"), BATCH_SIZES, value=16, key="twin_batch",
            bind="query-params", width=240,
            help=_("How many images are normalized together. BN cannot normalize one alone."),
        )  # fmt: skip
        neighbours = st.segmented_control(
            _("Neighbours in the batch"), list(names), default="shuffled", required=True,
            key="neighbours", bind="query-params", format_func=lambda n: names[n],
            help=_("Which test images share a batch in train mode."),
        )  # fmt: skip
    return Choice(variant, step or None, batch_size, neighbours)


@st.cache_resource(max_entries=2)
def _test_images(dataset: str) -> tuple[np.ndarray, np.ndarray]:
    loaded = data.load(dataset)
    return loaded.test_images[:IMAGES], loaded.test_labels[:IMAGES]


@st.cache_data(max_entries=64, show_spinner=False)
def _train(run_id: str, variant: str, step: int, batch_size: int, neighbours: str) -> np.ndarray:
    import torch

    from bnviz.analysis.company import company
    from bnviz.analysis.modes import train_side
    from bnviz.train.replays import model_at

    run = view(run_id)
    images, labels = _test_images(run.config.dataset)
    return train_side(
        model_at(run.source, variant, step),
        torch.tensor(images),
        batch_size=batch_size,
        order=company(labels, neighbours),
    )


@st.cache_data(max_entries=128, show_spinner=False)
def _eval(run_id: str, variant: str, step: int, momentum: float, eps: float) -> np.ndarray:
    import torch

    from bnviz.analysis.modes import eval_side
    from bnviz.train.replays import model_at

    run = view(run_id)
    images, _labels = _test_images(run.config.dataset)
    statistics = (
        replayed_statistics(run.config, run.history, variant, momentum, step)
        if VARIANTS[variant].normalizes
        else None
    )
    return eval_side(
        model_at(run.source, variant, step), torch.tensor(images), statistics=statistics, eps=eps
    )


def compare(run: RunView, choice: Choice, momentum: float, eps: float) -> Pair:
    """Both sides of `choice`, from the cache where nothing changed.

    Raises RunError before the first checkpoint.
    """
    from bnviz.analysis.modes import paired

    steps = run.source.checkpoints(choice.variant)
    if not steps:
        raise RunError(
            _("No weights of {variant} are stored yet; the first come after 20 steps.").format(
                variant=choice.variant
            )
        )
    step = choice.step or steps[-1]
    images, labels = _test_images(run.config.dataset)
    frame = paired(
        _train(run.id, choice.variant, step, choice.batch_size, choice.neighbours),
        _eval(run.id, choice.variant, step, momentum, eps),
        labels,
    )
    return Pair(step, choice, frame, images, f"{choice} {momentum} {eps}")


def metrics(pair: Pair) -> None:
    """Accuracy of both modes with standard errors, and how often they disagree."""
    from bnviz.analysis.passes import standard_error

    frame, images = pair.frame, len(pair.frame)
    accuracy = {side: float(frame[f"{side}_right"].mean()) for side in ("train", "eval")}
    cards = [
        (
            _("Train mode, batches of {n}").format(n=pair.choice.batch_size),
            accuracy["train"],
            _("Share of right answers; ± is one standard error over {n:,} images.").format(
                n=images
            ),
        ),
        (
            _("Eval mode, at the sliders"),
            accuracy["eval"],
            _("With the running statistics replayed at the momentum and eps of the sliders."),
        ),
    ]
    with st.container(horizontal=True, gap="small"):
        for label, value, text in cards:
            st.metric(
                label,
                f"{value:.1%} ± {standard_error(value, images):.1%}",
                border=True,
                help=text,
            )
        only = {
            side: int((frame[f"{side}_right"] & ~frame[f"{other}_right"]).sum())
            for side, other in (("train", "eval"), ("eval", "train"))
        }
        st.metric(
            _("Answers differ"),
            _("{n} of {total:,}").format(n=int(frame["differ"].sum()), total=images),
            border=True,
            help=_("Images whose predicted class is another one in the other mode."),
        )
        st.metric(
            _("Only one mode right"),
            _("{train} train · {eval} eval").format(train=only["train"], eval=only["eval"]),
            border=True,
            help=_("Images that only one of the modes gets right."),
        )


def cards(run: RunView, pair: Pair) -> list[Card]:
    """The two figures of the page."""
    frame = pair.frame
    names = tuple(_(name) for name in data.CLASSES)
    gap = 100 * float(frame["eval_right"].mean() - frame["train_right"].mean())
    by_class = frame.groupby("label")[["train_right", "eval_right"]].mean()
    worst: Any = (by_class["eval_right"] - by_class["train_right"]).abs().idxmax()
    return [
        Card(
            key="truth",
            title=_("Off the diagonal, the mode changes the answer"),
            figure=probability_of_truth(frame, names),
            sentence=_(
                "{label} at step {step:,}: eval mode is {gap:+.1f} points from train mode; "
                "{n} of {total:,} images get another answer."
            ).format(
                label=run.labels[pair.choice.variant],
                step=pair.step,
                gap=gap,
                n=int(frame["differ"].sum()),
                total=len(frame),
            ),
            alt=_("Probability of the true class in train mode and in eval mode, a dot an image"),
            height=430,
            asked=pair.asked,
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
            asked=pair.asked,
        ),
    ]


def image_table(pair: Pair) -> None:
    """The images with both predictions; which ones is the reader's choice."""
    frame = pair.frame
    filters = {
        "differ": (_("answers differ"), frame["differ"]),
        "train": (_("only train right"), frame["train_right"] & ~frame["eval_right"]),
        "eval": (_("only eval right"), frame["eval_right"] & ~frame["train_right"]),
        "all": (_("all"), pd.Series(True, frame.index)),
    }
    st.subheader(_("The same images, both answers"))
    chosen = st.segmented_control(
        _("Show images where"), list(filters), default="differ", required=True, key="twin_filter",
        bind="query-params", format_func=lambda name: filters[name][0],
        help=_("At most {rows} rows are shown.").format(rows=ROWS),
    )  # fmt: skip
    rows = frame[filters[chosen][1]].head(ROWS)
    if rows.empty:
        st.info(_("No image: both modes agree here. Try smaller batches or another momentum."))
        return
    names = np.array([_(name) for name in data.CLASSES])
    table = pd.DataFrame(
        {
            "image": [png(pair.images[i]) for i in rows.index],
            "number": rows.index,
            "truth": names[rows["label"]],
            "train": names[rows["train_prediction"]],
            "train_p": 100 * rows["train_probability"],
            "eval": names[rows["eval_prediction"]],
            "eval_p": 100 * rows["eval_probability"],
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
            "number": st.column_config.NumberColumn(_("no."), width="small"),
            "truth": st.column_config.TextColumn(_("is")),
            "train": st.column_config.TextColumn(_("train mode says")),
            "train_p": st.column_config.ProgressColumn(_("how sure"), **percent),
            "eval": st.column_config.TextColumn(_("eval mode says")),
            "eval_p": st.column_config.ProgressColumn(_("how sure "), **percent),
        },
    )
