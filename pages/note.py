"""The note: its three riddles, its quirks one by one, where two runs part, and its printed log."""

import streamlit as st

from bnviz.i18n import _
from bnviz.ui import note_bench, note_code, note_log, note_parting, note_riddles, runs
from bnviz.ui.again import train_again, with_changes
from bnviz.ui.warm import warm_up

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
note_riddles.memory_riddle()
st.caption(run.origin())
if note_riddles.able(run):
    note_riddles.on_the_run(run)
else:
    st.info(_("This run has no BN, so it cannot answer the other two. Choose another run, or:"))
    train_again(
        with_changes(run.config, variants=(*run.config.variants, "builtin")),
        key="again_builtin", label=_("Train again with nn.BatchNorm beside it"),
    )  # fmt: skip

st.subheader(_("The note's code beside ours"))
st.caption(
    _(
        "Twelve quirks, each with the line that does it and the line that does it right, read from "
        "the files that run here: − marks what the note does, + what is right. The switches make a "
        "side of the comparison below, and a run."
    )
)
note_code.code_section()

st.subheader(_("Bug bench"))
st.caption(
    _(
        "Every quirk alone, those that act in company, all and none: same weights, same batches, "
        "tests in between as the note makes them."
    )
)
note_bench.bench_section()

st.subheader(_("Where two runs part"))
st.caption(
    _(
        "Two networks in lock-step on the same batches: the first tensor that differs, and how far "
        "it goes from there."
    )
)
note_parting.parting_section()

st.subheader(_("The printed log"))
st.caption(
    _(
        "The five epochs that the note prints, for nn.BatchNorm at batch 4, beside the same training "
        "on a CPU."
    )
)
note_log.log_section()
