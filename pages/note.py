"""The note: its three riddles, its quirks one by one, where two runs part, and its printed log."""

import streamlit as st

from bnviz.app import runs
from bnviz.app.preload import warm_up
from bnviz.app.rerun_button import train_again_with_bn
from bnviz.i18n import _
from bnviz.subjects.note import (
    ablation_section,
    code_section,
    divergence_section,
    printed_log_section,
    questions_section,
)

warm_up()
run = runs.choose_run()
st.title(_("The note"))
st.caption(
    _(
        "bnviz began with a learner's note: BN written by hand, a LeNet, a printed log and open "
        "questions. Here are the answers, each measured by the code that shows it."
    )
)

st.subheader(_("Three riddles, three answers"))
questions_section.memory_riddle()
st.caption(run.origin())
if questions_section.able(run):
    questions_section.on_the_run(run)
else:
    train_again_with_bn(
        run, _("This run has no BN, so it cannot answer the other two. Choose another run, or:")
    )

st.subheader(_("The note's code beside ours"))
st.caption(
    _(
        "Twelve quirks, each with the line that does it and the line that does it right, read from "
        "the files that run here: − marks what the note does, + what is right. The switches make a "
        "side of the comparison below, and a run."
    )
)
code_section.code_section()

st.subheader(_("Bug bench"))
st.caption(
    _(
        "Every quirk alone, those that act in company, all and none: same weights, same batches, "
        "tests in between as the note makes them."
    )
)
ablation_section.bench_section()

st.subheader(_("Where two runs part"))
st.caption(
    _(
        "Two networks in lock-step on the same batches: the first tensor that differs, and how far "
        "it goes from there."
    )
)
divergence_section.parting_section()

st.subheader(_("The printed log"))
st.caption(
    _(
        "The five epochs that the note prints, for nn.BatchNorm at batch 4, beside the same training "
        "on a CPU."
    )
)
printed_log_section.log_section()
