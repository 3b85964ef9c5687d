"""The note's printed log beside its replay, recorded or made here."""

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from bnviz.app.card_grid import board
from bnviz.app.task_panel import Task
from bnviz.charts.card import Card
from bnviz.data import TRAINING_IMAGES
from bnviz.i18n import _, sentences
from bnviz.subjects.note.printed_log_figures import printed_accuracies, printed_losses
from bnviz.training.tasks import Key

if TYPE_CHECKING:
    from bnviz.subjects.note.printed_log import Replay

EPOCHS = (1, 2, 3, 4, 5)
LOG = ("note", "log")
SECONDS_OF_TIMING, SECONDS_AN_EPOCH = 20.0, 45.0


def log_key(epochs: int) -> Key:
    """Its place among the measurements of the process; it belongs to no run."""
    return (*LOG, str(epochs))


@st.fragment
def log_section() -> None:
    """Controls, the replay, both figures and the table."""
    from bnviz.subjects.note.printed_log import BATCH

    epochs = st.select_slider(
        _("Epochs to replay here"), EPOCHS, value=1, key="log_epochs", bind="query-params",
        width=280, help=_("{steps:,} steps at batch {batch} each: about a minute an epoch.").format(steps=TRAINING_IMAGES // BATCH, batch=BATCH),
    )  # fmt: skip
    show(task_of(epochs).panel() or _recorded())


def task_of(epochs: int) -> Task:
    """The replay of so many epochs."""
    from bnviz.subjects.note.printed_log import replay_log

    return Task(
        key=log_key(epochs),
        measure=lambda progress: replay_log(epochs, progress),
        button=_("Replay here"),
        again=_("Replay again"),
        expected_s=SECONDS_OF_TIMING + epochs * SECONDS_AN_EPOCH,
        help=_("First both loops are timed in turns, then it trains; you may leave the page."),
        named=_named,
        choose=_choose,
    )


def _named(key: Key) -> str:
    epochs = int(key[2])
    return _("one epoch") if epochs == 1 else _("{epochs} epochs").format(epochs=epochs)


def _choose(key: Key) -> None:
    st.session_state["log_epochs"] = int(key[2])


def _recorded() -> "Replay":
    from bnviz.subjects.note.recorded import recorded_log

    return recorded_log()


def origin(replay: "Replay") -> str:
    """Recorded or measured here, with what it takes to make it again."""
    if replay.made:
        return _("Recorded: seed {seed}, batch {batch}. Made with: {command} ({date}, {machine}).").format(
            seed=replay.seed, batch=replay.batch_size, **replay.made
        )  # fmt: skip
    return _(
        "Measured here: seed {seed}, batch {batch}, {images:,} test images of {dataset}."
    ).format(
        seed=replay.seed, batch=replay.batch_size, images=replay.test_images, dataset=replay.dataset
    )


def printed_frame() -> pd.DataFrame:
    """The five printed epochs: columns epoch, loss, seconds, accuracy."""
    from bnviz.subjects.note.printed_log import PRINTED

    return pd.DataFrame([line._asdict() for line in PRINTED])


def show(replay: "Replay") -> None:
    """Where it comes from, both figures, the table, and what the loop costs."""
    from bnviz.subjects.note.printed_log import LARGE_BATCH

    printed = printed_frame()
    st.caption(origin(replay))
    board(cards(printed, replay), key="log_board", revision=origin(replay))
    st.dataframe(
        table_of(printed, replay),
        hide_index=True,
        column_config={
            "epoch": st.column_config.NumberColumn(_("epoch"), format="%d"),
            "loss": _number(_("note: loss"), "%.4f", _("As printed: divided by the batch size once too often.")),
            "printed_loss": _number(_("here: loss as printed"), "%.4f", _("The same division of the replay's loss.")),
            "mean_loss": _number(_("here: mean CE"), "%.4f", _("What the loss should be: cross-entropy in nats.")),
            "accuracy": _number(_("note: acc, %"), "%.2f", _("As printed: train mode, batch {batch}.").format(batch=replay.batch_size)),
            "note_accuracy": _number(_("here: as the note, %"), "%.2f", _("The same test pass on the replay's weights.")),
            "large_batch_accuracy": _number(_("here: batch {batch}, %").format(batch=LARGE_BATCH), "%.2f", _("Train mode, {batch} images normalized together.").format(batch=LARGE_BATCH)),
            "eval_accuracy": _number(_("here: eval, %"), "%.2f", _("Eval mode, before the test pass moves the statistics.")),
            "seconds": _number(_("note: s"), "%.1f", _("On the GPU of the note's author.")),
            "seconds_here": _number(_("here: s"), "%.1f", _("Training of the epoch, without tests.")),
        },
    )  # fmt: skip
    if replay.loops:
        st.markdown(
            _(
                "A step of the note's own loop (torchvision, DataLoader with two workers, default "
                "Adam, batch {batch}) took {note_ms:.2f} ms on the CPU that made this replay, and one "
                "of bnviz {own_ms:.2f} ms: **{ratio:.2f} times** by the median of the rounds' own ratios. "
                "They take turns in one process, and the loader's workers go on meanwhile, so ours is "
                "slower here than in the table above."
            ).format(batch=replay.batch_size, **replay.loops)
        )


def table_of(printed: pd.DataFrame, replay: "Replay") -> pd.DataFrame:
    """A replayed epoch a row, the note's figures beside the replay's; accuracies in percent."""
    here = replay.frame.rename(columns={"seconds": "seconds_here"})
    joined = printed.merge(here, on="epoch", how="inner")
    shares = ["accuracy", "note_accuracy", "large_batch_accuracy", "eval_accuracy"]
    joined[shares] = 100 * joined[shares]
    return joined[
        ["epoch", "loss", "printed_loss", "mean_loss", *shares, "seconds", "seconds_here"]
    ]


def cards(printed: pd.DataFrame, replay: "Replay") -> list[Card]:
    """Loss and accuracy over the epochs."""
    frame = replay.frame
    last = frame.iloc[-1]
    line = printed.iloc[len(frame) - 1]
    gap = 100 * (frame["eval_accuracy"] - frame["note_accuracy"])
    return [
        Card(
            key="log_loss",
            title=_("The printed loss is the mean divided once too often"),
            figure=printed_losses(printed, frame),
            sentence=_(
                "In epoch {epoch} the note prints {note:.4f}; the replay's mean cross-entropy is "
                "{mean:.4f}, which divided by batch {batch} once more is {printed:.4f}."
            ).format(
                epoch=int(last["epoch"]), note=line["loss"], mean=last["mean_loss"],
                batch=replay.batch_size, printed=last["printed_loss"],
            ),
            alt=_("Printed loss of the note's epochs beside the replay"),
            height=440,
        ),
        Card(
            key="log_accuracy",
            title=(
                _("What the note measures is too low")
                if gap.min() > 0
                else _("Accuracy as the note measures it and in eval mode")
            ),
            figure=printed_accuracies(printed, frame),
            sentence=sentences(_(
                "In epoch {epoch} the note prints {note:.1%}; measured the same way the replay has "
                "{same:.1%}, in eval mode {eval:.1%}."
            ).format(
                epoch=int(last["epoch"]), note=line["accuracy"], same=last["note_accuracy"],
                eval=last["eval_accuracy"],
            ), _gaps(gap)),
            alt=_("Accuracy as printed, as the note measures it, and in eval mode, by epoch"),
            height=440,
        ),
    ]  # fmt: skip


def _gaps(gap: pd.Series) -> str:
    """By how many points eval mode is above the note's way of measuring, over the epochs."""
    if len(gap) == 1:
        return _("Eval mode is {gap:+.1f} points from the note's way of measuring.").format(
            gap=gap.iloc[0]
        )
    return _(
        "Over the epochs eval mode is {least:+.1f} to {most:+.1f} points from the note's way."
    ).format(least=gap.min(), most=gap.max())


def _number(label: str, form: str, text: str):  # type: ignore[no-untyped-def]
    return st.column_config.NumberColumn(label, format=form, help=text)
