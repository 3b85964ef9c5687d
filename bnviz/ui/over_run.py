"""Over the run: both modes at every checkpoint, and what the note's test passes did to it."""

from dataclasses import replace

import pandas as pd
import streamlit as st

from bnviz.figures.over_run import modes_over_checkpoints, pairs_over_checkpoints
from bnviz.i18n import _
from bnviz.train.store import nearest_checkpoint
from bnviz.ui.board import board
from bnviz.ui.both_sides import MENDED, OWN, Sides, frame_of
from bnviz.ui.live import Card
from bnviz.ui.runs import RunView

HEIGHT = 400


def show(run: RunView, sides: Sides) -> None:
    """Accuracy and paired counts at every checkpoint."""
    frame, asked = _checkpoints(run, sides), f"{sides}"
    if sides.source == MENDED:
        st.caption(
            _("Mended statistics belong to one checkpoint; here each has those its layers kept.")
        )
    board(
        [_accuracy_card(run, sides, frame, asked), _pairs_card(frame, asked)],
        key="over_run", revision=run.id,
    )  # fmt: skip
    tests = _tests(run, sides)
    if tests:
        st.caption(
            _(
                "Marks: {n} test passes in train mode, as the note's `test()` makes them. Each "
                "moved the running statistics by the batches of the test set; the replay, which "
                "knows the training batches only, is what they would have been without."
            ).format(n=len(tests))
        )


def _tests(run: RunView, sides: Sides) -> list[int]:
    """The steps at which test passes in train mode moved the statistics of the variant."""
    if sides.variant != "note":
        return []
    return [event["step"] for event in run.history.events if event["kind"] == "note_test"]


def _checkpoints(run: RunView, sides: Sides) -> pd.DataFrame:
    """Columns step, train, eval (accuracies, 0 to 1) and the counts of `paired_counts`."""
    from bnviz.analysis.modes import paired_counts

    source = OWN if sides.source == MENDED else sides.source
    rows = []
    for step in run.source.checkpoints(sides.variant):
        frame = frame_of(replace(sides, step=step, source=source, token=""))
        rows.append(
            {
                "step": step,
                "train": frame["train_right"].mean(),
                "eval": frame["eval_right"].mean(),
                **paired_counts(frame),
            }
        )
    return pd.DataFrame(rows)


def _accuracy_card(run: RunView, sides: Sides, frame: pd.DataFrame, asked: str) -> Card:
    gap = 100 * (frame["eval"] - frame["train"])
    widest = frame.iloc[int(gap.abs().to_numpy().argmax())]
    at = int(widest["step"])
    return Card(
        key="modes_over_run",
        title=_("Where in the run the modes part: {label}").format(label=run.labels[sides.variant]),
        figure=modes_over_checkpoints(
            frame, sides.variant, _tests(run, sides),
            nearest_checkpoint(list(frame["step"]), sides.step),
        ),
        sentence=_(
            "Widest at step {step:,}: {train:.1%} in train mode at batch {batch}, {eval:.1%} in "
            "eval mode, on {n:,} test images. The line is the step on show."
        ).format(
            step=at, train=widest["train"], batch=sides.batch_size, eval=widest["eval"],
            n=sides.images,
        ),
        alt=_("Accuracy in train mode and in eval mode at each checkpoint"),
        height=HEIGHT,
        asked=asked,
    )  # fmt: skip


def _pairs_card(frame: pd.DataFrame, asked: str) -> Card:
    last = frame.iloc[-1]
    total = int(last[["both", "only_train", "only_eval", "none"]].sum())
    return Card(
        key="pairs_over_run",
        title=_("Which images only one mode gets right"),
        figure=pairs_over_checkpoints(frame, total),
        sentence=_(
            "At the last checkpoint {only_train} images of {total:,} are right in train mode only "
            "and {only_eval} in eval mode only; {none} in neither."
        ).format(
            only_train=int(last["only_train"]),
            only_eval=int(last["only_eval"]),
            none=int(last["none"]),
            total=total,
        ),
        alt=_("Share of images right in both modes, one or none at each checkpoint"),
        height=HEIGHT,
        asked=asked,
    )
