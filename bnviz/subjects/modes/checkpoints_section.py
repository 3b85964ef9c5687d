"""Over the run: both modes at every checkpoint, and what the note's test passes did to it."""

from dataclasses import replace

import pandas as pd
import streamlit as st

from bnviz.app.card_grid import board
from bnviz.charts.card import Card
from bnviz.i18n import _
from bnviz.records.running_view import width_for
from bnviz.records.store import nearest_checkpoint
from bnviz.subjects.modes.checkpoints_figures import modes_over_checkpoints, pairs_over_checkpoints
from bnviz.subjects.modes.mode_selection_section import OWN, RECALIBRATED, Sides, frame_of
from bnviz.training.run_view import RunView

HEIGHT = 400
CHECKPOINTS = 12
"""So many of a long run's checkpoints are shown at least, and twice as many at most."""


def show(run: RunView, sides: Sides) -> None:
    """Accuracy and paired counts at every checkpoint."""
    frame, asked = _checkpoints(run, sides), f"{sides}"
    if sides.source == RECALIBRATED:
        st.caption(
            _(
                "Recalibrated statistics belong to one checkpoint; here each checkpoint uses "
                "its layers' own."
            )
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
                "moved the running statistics by the batches of the test set; the replay uses "
                "the training batches only, so it shows the statistics without those passes."
            ).format(n=len(tests))
        )


def _tests(run: RunView, sides: Sides) -> list[int]:
    """The steps at which test passes in train mode moved the statistics of the variant."""
    if sides.variant != "note":
        return []
    return [event["step"] for event in run.history.events if event["kind"] == "note_test"]


def steps_on_show(stored: list[int]) -> list[int]:
    """Evenly spaced ones of the `stored` steps and the newest, at most twice CHECKPOINTS and one.

    The same ones again while a run goes on, until it is long and every second one is left out.
    """
    spaced = stored[:: width_for(len(stored), CHECKPOINTS)]
    return sorted({*spaced, *stored[-1:]})


def _checkpoints(run: RunView, sides: Sides) -> pd.DataFrame:
    """Columns step, train, eval (accuracies, 0 to 1) and the counts of `paired_counts`."""
    source = OWN if sides.source == RECALIBRATED else sides.source
    steps = steps_on_show(run.source.checkpoints(sides.variant))
    return pd.DataFrame(
        [_counted(replace(sides, step=step, source=source, token="")) for step in steps]
    )


@st.cache_data(max_entries=1024, show_spinner=False)
def _counted(sides: Sides) -> dict[str, float]:
    """A row of `_checkpoints`: a page that ticks counts only what is new."""
    from bnviz.evaluation.modes import paired_counts

    frame = frame_of(sides)
    right = {side: float(frame[f"{side}_right"].mean()) for side in ("train", "eval")}
    return {"step": sides.step, **right, **paired_counts(frame)}


def _accuracy_card(run: RunView, sides: Sides, frame: pd.DataFrame, asked: str) -> Card:
    gap = 100 * (frame["eval"] - frame["train"])
    widest = frame.iloc[int(gap.abs().to_numpy().argmax())]
    at = int(widest["step"])
    return Card(
        key="modes_over_run",
        title=_("Both modes over the run: {label}").format(label=run.labels[sides.variant]),
        figure=modes_over_checkpoints(
            frame, sides.variant, _tests(run, sides),
            nearest_checkpoint(list(frame["step"]), sides.step),
        ),
        sentence=_(
            "The gap is widest at step {step:,}: {train:.1%} in train mode at batch {batch}, "
            "{eval:.1%} in eval mode, on {n:,} test images. The line is the chosen step."
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
