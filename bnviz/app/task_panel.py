"""Measurements on a page: begin, watch, cancel, hear why one failed."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from bnviz.app.live import live_states
from bnviz.app.states import state_of_run, state_of_task, task_id
from bnviz.i18n import _
from bnviz.training.process import measurements
from bnviz.training.run_view import RunView
from bnviz.training.tasks import Key, Progress

OTHERS_SHOWN = 5


def found(key: Key) -> Any:
    """What the measurement of that key came to, or None."""
    known = measurements().get(*key)
    return known and known.found


def going_on(*keys: Key) -> bool:
    """Whether any of these measurements is at work or waits for its turn."""
    known = [measurements().get(*key) for key in keys]
    return any(each is not None and each.going_on for each in known)


def asked_for(*prefix: str) -> list[Key]:
    """The keys that begin so of all that was asked for in this process, oldest first."""
    return measurements().asked_for(*prefix)


def watch_run(run: RunView, *, checkpoints: bool = False, ended: bool = False) -> None:
    """How far a run is that goes on; the page is drawn again when its state changes.

    With `checkpoints` also when it has stored newer weights; with `ended` a run of this process
    keeps its line after its end.
    """
    if run.live or (ended and run.job is not None):
        query: dict[str, str | list[str]] = {"run": run.id}
        if checkpoints:
            query["checkpoints"] = "1"
        live_states([state_of_run(run.id)], query, key="run_state")


def newest_checkpoint(run: RunView, variant: str) -> int | None:
    """The last step with weights of `variant`, None before the first."""
    stored = run.source.checkpoints(variant)
    return stored[-1] if stored else None


def watch(key: Key, name: str | None = None) -> bool:
    """Show how far a measurement is, or why it failed; True while it goes on.

    `name` tells its Cancel from that of others on the page; the kind of `key` if None.
    """
    known = measurements().get(*key)
    if known is None:
        return False
    if known.error is not None:
        st.error(
            _("The measurement ended early. {error} Try again.").format(error=known.error),
            icon=":material/error:",
        )
    if known.going_on:
        live_states([state_of_task(key)], {"task": [task_id(key)]}, key=f"state_{name or key[1]}")
        st.button(
            _("Cancel"), key=f"cancel_{name or key[1]}", icon=":material/close:",
            on_click=measurements().cancel, args=key, help=_("Stops before its next part."),
        )  # fmt: skip
    return known.going_on


def show_others(key: Key, named: Callable[[Key], str], choose: Callable[[Key], None]) -> None:
    """Measurements of the same kind with other controls, which the page would lose sight of.

    One that goes on is watched; to the last OTHERS_SHOWN that found something a button leads, which
    calls `choose`. `named` has the controls of a key in words.
    """
    others = [other for other in asked_for(*key[:2]) if other != key]
    for other in filter(going_on, others):
        st.caption(_("Going on with {controls}:").format(controls=named(other)))
        watch(other, "_".join(other[1:]))
    done = [other for other in others if not going_on(other) and found(other) is not None]
    for other in done[-OTHERS_SHOWN:]:
        st.button(
            _("Show what was measured with {controls}").format(controls=named(other)),
            key="_".join(other[1:]), icon=":material/history:", on_click=choose, args=(other,),
            help=_("Moves the controls back to these."),
        )  # fmt: skip


def start_button(
    label: str,
    key: Key,
    work: Callable[[Progress], Any],
    *,
    help: str,
    disabled: bool = False,
    again: bool = False,
) -> None:
    """A button that begins the measurement of that key, and the page then ticks with it."""
    if st.button(
        label,
        type="secondary" if again else "primary",
        icon=":material/straighten:",
        key=f"measure_again_{key[1]}" if again else f"measure_{key[1]}",
        disabled=disabled,
        help=help,
    ):
        measurements().begin(*key, work=work)
        st.rerun()
