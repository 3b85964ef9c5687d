"""Ways to cut the living chain of the memory experiment, and what each freed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
import streamlit as st

from bnviz.charts.card import Card
from bnviz.charts.formatting import size_words
from bnviz.errors import BnvizError
from bnviz.i18n import N_, _, sentences
from bnviz.subjects.memory.experiment_figures import cut_name
from bnviz.subjects.memory.experiment_runner import lab
from bnviz.subjects.memory.memory_experiment_figures import freed_by_cut

REFUSED = "mem_refused"
KEYS = {
    "keep_graph": "mem_keep", "test_mode": "mem_mode", "grad": "mem_grad", "batch_size": "mem_batch",
    "test_share": "mem_share", "steps": "mem_steps", "budget_mib": "mem_budget",
}  # fmt: skip
"""Settings of the experiment that have a control: its key in the session and the address."""
CUT_HELP = {
    "detach": N_(
        "Detaches the running statistics, now and at each batch to come, and drops the last outputs."
    ),
    "no_grad": N_(
        "Test batches run under no_grad from now on, one at once: new statistics have no graph."
    ),
    "eval": N_("Test batches run in eval mode from now on: they leave the statistics alone."),
    "buffers": N_(
        "The statistics become buffers, written in place without a graph, as torch does."
    ),
    "del": N_("Deletes the outputs and the loss of the last batch, and collects garbage."),
}
CUT_WORDS = {
    "detach": N_("The chain is cut at once, and no new one begins."),
    "no_grad": N_("Statistics made without a graph replace those that held the chain."),
    "eval": N_("Nothing is freed: the chain stays, and only training steps extend it from now on."),
    "buffers": N_("The chain is cut, and statistics that are written in place begin no new one."),
    "del": N_("Nothing of the chain is freed: the running statistics hold it, not the outputs."),
}


def cut_buttons() -> None:
    """Each way to cut the living chain, and the way back."""
    from bnviz.subjects.memory.interventions import CUTS, UNDO

    experiment, alive = lab().experiment, lab().going_on
    st.markdown(
        _(
            "**Try a fix.** Which of these releases the memory that the running experiment "
            "holds? Guess first. Each one undoes the one before it."
        )
    )
    with st.container(horizontal=True, gap="small"):
        for name in (*CUTS, UNDO):
            st.button(
                cut_name(name), key=f"mem_cut_{name}", disabled=not alive,
                icon=":material/undo:" if name == UNDO else ":material/content_cut:",
                on_click=_try_cut, args=(name,),
                help=_(CUT_HELP[name]) if name in CUT_HELP else _(
                    "Undoes the fix: what leaked leaks again."
                ),
            )  # fmt: skip
    if not alive:
        st.caption(_("Fixes act on a live chain: run the experiment first."))
    elif experiment is not None and experiment.events:
        st.markdown(_event_words(experiment.events[-1]))


@contextmanager
def refusing() -> Iterator[None]:
    """What a command is refused for stands on the page until the next command or change."""
    st.session_state[REFUSED] = None
    try:
        yield
    except BnvizError as error:
        st.session_state[REFUSED] = str(error), settings()


def settings() -> tuple[Any, ...]:
    """What the controls of the experiment are set to."""
    return tuple(st.session_state.get(key) for key in KEYS.values())


def refused() -> str | None:
    """Why the last command was refused, while the controls are as they were then."""
    said = st.session_state.get(REFUSED)
    return said[0] if said is not None and said[1] == settings() else None


def _try_cut(name: str) -> None:
    experiment = lab().experiment
    with refusing():
        if experiment is not None:
            experiment.cut(name)


def _event_words(event: dict[str, Any]) -> str:
    if event["name"] == "undo":
        return _("**{name}** from step {step:,} on: what leaked leaks again; nothing was freed.").format(
            name=cut_name(event["name"]), step=event["step"]
        )  # fmt: skip
    freed = _("**{name}** at step {step:,} freed **{freed}** of {before}.").format(
        name=cut_name(event["name"]),
        step=event["step"],
        freed=size_words(event["freed"]),
        before=size_words(event["before"]),
    )
    return sentences(freed, _reason(event), _given_back(event))


def _given_back(event: dict[str, Any]) -> str:
    """What came back to the device and to the system, where something was freed."""
    if not event["freed"]:
        return ""
    if event["device_freed"]:
        return _("The device's allocator has {size} more free.").format(
            size=size_words(max(event["device_freed"], 0))
        )
    process = size_words(max(event["process_freed"], 0))
    if event["trimmed"]:
        return _(
            "The process returned {process} to the system by itself, and {size} more when asked to "
            "(`malloc_trim`)."
        ).format(process=process, size=size_words(max(event["process_trimmed"], 0)))
    return _("The process returned {process} to the system by itself.").format(process=process)


def _reason(event: dict[str, Any]) -> str:
    """Why so much was freed; what is said of a cut holds where there was a chain to cut."""
    name = event["name"]
    if not event["before"]:
        return _("There was no chain to cut.")
    if name == "no_grad" and not event["freed"]:
        return _("In eval mode the statistics stay as they are, and so does their chain.")
    return _(CUT_WORDS[name])


def cuts_card(events: list[dict[str, Any]]) -> Card:
    """All that was tried, with what it freed."""
    tried = [event for event in events if event["name"] != "undo"]
    names = [f"{k}. {cut_name(event['name'])}" for k, event in enumerate(tried, 1)]
    frame = pd.DataFrame(tried)
    whole = [
        name
        for name, event in zip(names, tried, strict=True)
        if event["freed"] == event["before"] > 0
    ]
    return Card(
        key="cuts",
        title=_("What each fix freed"),
        figure=freed_by_cut(names, frame["before"].to_numpy(float), frame["freed"].to_numpy(float)),
        sentence=(
            _("{n} of {of} fixes freed all that was kept when they were tried: {names}.").format(
                n=len(whole), of=len(tried), names=", ".join(whole)
            )
            if whole
            else _("No fix tried so far has freed all that was kept.")
        ),
        alt=_("Bytes freed and still kept after each fix"),
        height=300,
        asked=str(len(tried)),
        wide=True,
    )
