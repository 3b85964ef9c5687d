"""Why the process grows more than its tensors: the check with glibc's threshold, on request."""

import pandas as pd
import streamlit as st

from bnviz.app.card_grid import board
from bnviz.app.task_panel import Task
from bnviz.charts.card import Card
from bnviz.charts.formatting import size_words
from bnviz.i18n import N_, _
from bnviz.subjects.memory.process_growth import (
    THRESHOLD,
    VARIABLE,
    does_not_apply,
    process_growth,
    recorded,
    shell_command,
)
from bnviz.subjects.memory.process_growth_figures import growth_over_batch_sizes
from bnviz.training.tasks import Key

KEY: Key = ("memory", "process_growth")
SPOKEN_OF = 64
"""The batch size that the sentences name."""
KINDS = ("train", "test")
EXPECTED_S = 120.0
FAR_MORE = 3
"""The process grows far more than its tensors when it is by so many times."""
ALT = N_("Growth a step of tensors and of process memory over batch sizes, both on log scales")


def section() -> None:
    """What was recorded or measured here, how it comes about, and how to check it."""
    _section()
    st.markdown(_("To check it by yourself, compare `process_bytes_per_step` of the two:"))
    commands = [shell_command("train", SPOKEN_OF, threshold=on) for on in (False, True)]
    for command in commands:
        st.code(command, language="bash", wrap_lines=True)


@st.fragment
def _section() -> None:
    measured: pd.DataFrame | None = task().found
    explain()
    frame = recorded().frame if measured is None else measured
    board(
        [card(frame, kind) for kind in KINDS], key="process_growth_cards",
        revision="recorded" if measured is None else "measured",
    )  # fmt: skip
    st.caption(origin(measured))
    task().panel()


def explain() -> None:
    """The allocator in three sentences."""
    st.markdown(
        _(
            "A training step frees its large blocks but leaves small graph nodes between them. "
            "glibc returns its heap to the system from the end only, so a small node that "
            "stays alive pins the free memory before it. With the mmap threshold "
            "(`{variable}={threshold}`) large blocks get mappings of their own and are "
            "returned at once: the growth that then disappears was heap fragmentation, not "
            "tensors."
        ).format(variable=VARIABLE, threshold=THRESHOLD)
    )


def task() -> Task:
    """The same growth measured on this machine."""
    return Task(
        key=KEY,
        measure=process_growth,
        button=_("Measure here"),
        again=_("Measure again"),
        expected_s=EXPECTED_S,
        help=_("Starts a process for each point, one after the other."),
        unable=does_not_apply() or "",
    )


def origin(measured: pd.DataFrame | None) -> str:
    """Whether the numbers are recorded, and by what, or were measured here."""
    if measured is not None:
        return _("Measured on this machine, each point in a process of its own.")
    record = recorded()
    return _("Recorded on {date} on {machine} by `{command}`; measure it here to replace it.").format(
        date=record.date, machine=record.machine, command=record.command
    )  # fmt: skip


def card(frame: pd.DataFrame, kind: str) -> Card:
    """Growth over batch sizes of one kind of step."""
    rows = frame[frame["kind"] == kind]
    return Card(
        key=f"growth_{kind}",
        title=title(rows, kind),
        figure=growth_over_batch_sizes(rows),
        sentence=sentence(rows),
        alt=_(ALT),
        height=360,
    )


def _spoken_of(rows: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Without and with the threshold, at SPOKEN_OF, or the largest batch size where that is missing."""
    sizes = set(rows["batch_size"])
    batch_size = SPOKEN_OF if SPOKEN_OF in sizes else max(sizes)
    at = rows[rows["batch_size"] == batch_size]
    default, apart = (at[at["threshold"] == on].iloc[0] for on in (False, True))
    return default, apart


def title(rows: pd.DataFrame, kind: str) -> str:
    """What is to be seen, by the numbers."""
    default, _apart = _spoken_of(rows)
    more = default["process_bytes"] > FAR_MORE * default["tensor_bytes"]
    if kind == "train":
        return (
            _("Training steps: the process grows far more than the tensors it keeps")
            if more
            else _("Training steps: the process grows about as much as its tensors")
        )
    return (
        _("Test batches: the process grows far more than the tensors it keeps")
        if more
        else _("Test batches: the process grows about as much as its tensors")
    )


def sentence(rows: pd.DataFrame) -> str:
    """What the figure shows at one batch size."""
    default, apart = _spoken_of(rows)
    return _(
        "At batch {batch} a step keeps {tensors} of tensors and {nodes:,.0f} nodes; the "
        "process grows by {default}, and with the mmap threshold by {apart}."
    ).format(
        batch=default["batch_size"],
        tensors=size_words(default["tensor_bytes"]),
        nodes=default["nodes"],
        default=size_words(default["process_bytes"]),
        apart=size_words(apart["process_bytes"]),
    )
