"""The note: its three questions, its code, each of its quirks alone, where two runs differ, its log."""

import streamlit as st

from bnviz.app import runs
from bnviz.app.controls import choice_control, selection_controls
from bnviz.app.preload import warm_up
from bnviz.app.rerun_button import train_again_with_bn
from bnviz.app.task_panel import watch_run
from bnviz.i18n import _
from bnviz.subjects.note import (
    ablation_section,
    code_section,
    divergence_section,
    printed_log_section,
    questions_section,
)
from bnviz.subjects.note.quirk_settings import QUIRKS

warm_up()
run = runs.choose_run()
st.title(_("The note"))
st.caption(
    _(
        "A learner's blog post, reproduced: BN written by hand, a LeNet, a printed log and open "
        "questions. Its quirks are what it does differently from torch."
    )
)
view = choice_control(
    _("View"),
    {
        "questions": _("Three questions"),
        "code": _("Code"),
        "ablation": _("Ablation"),
        "divergence": _("First divergence"),
        "log": _("The log"),
    },
    "view",
    help=_("The switches of the code set up one run of the first divergence, and a training run."),
)
code_section.keep_switches()


def questions() -> None:
    """What a test batch keeps; and on the run, which average and which mode."""
    questions_section.memory_question()
    st.caption(run.origin())
    if questions_section.able(run):
        watch_run(run, checkpoints=True)
        selection_controls(run, ("layer", "channels"))
        questions_section.on_the_run(run)
    else:
        train_again_with_bn(
            run, _("This run has no BN, so it cannot answer the other two. Choose another run, or:")
        )


def code() -> None:
    """The note's layer and loop beside ours."""
    st.caption(
        _(
            "{n} quirks, each with the line that does it and the line that does it right, read from "
            "the files that run here: − marks what the note does, + what is right."
        ).format(n=len(QUIRKS))
    )
    code_section.code_section()


def ablation() -> None:
    """Every quirk alone."""
    st.caption(
        _(
            "Ablation: every quirk alone, combinations, all and none: same initial weights, "
            "same batches, tests in between as the note makes them."
        )
    )
    ablation_section.bench_section()


def divergence() -> None:
    """Two networks on the same batches."""
    st.caption(
        _(
            "First divergence of two runs: two networks train in lock-step on the same "
            "batches; the first tensor that differs, and how far the difference grows."
        )
    )
    divergence_section.parting_section()


def log() -> None:
    """The printed log beside its replay."""
    from bnviz.subjects.note.printed_log import BATCH, MOST_EPOCHS

    st.caption(
        _(
            "The {epochs} epochs that the note prints, for nn.BatchNorm at batch {batch}, "
            "beside the same training on a CPU."
        ).format(epochs=MOST_EPOCHS, batch=BATCH)
    )
    printed_log_section.log_section()


{
    "questions": questions,
    "code": code,
    "ablation": ablation,
    "divergence": divergence,
    "log": log,
}[view]()
