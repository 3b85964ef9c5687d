"""Measurements on a page: begin, watch, cancel, hear why one failed."""

from collections.abc import Callable, Iterable
from typing import Any

import streamlit as st

from bnviz.i18n import _
from bnviz.train.measurements import Measurement, Progress
from bnviz.ui.registry import measurements
from bnviz.ui.runs import RunView

TICK_S = 1.0
Key = tuple[str, ...]
"""Run, kind, variant and options, as `Measurements` has them."""


def end_measurements() -> None:
    """Stop all that still measure, when the server ends."""
    measurements().end_all()


def found(key: Key) -> Any:
    """What the measurement of that key came to, or None."""
    known = measurements().get(*key)
    return known and known.found


def going_on(*keys: Key) -> bool:
    """Whether any of these measurements is at work or waits for its turn."""
    known = [measurements().get(*key) for key in keys]
    return any(each is not None and each.going_on for each in known)


def fragment_while_measuring(
    name: str, keys: Callable[[], Iterable[Key]], body: Callable[[], None]
) -> None:
    """`body` as a fragment of that key, which ticks as long as one of `keys` is being measured."""
    ticks = going_on(*keys())

    @st.fragment(run_every=TICK_S if ticks else None, key=name)
    def section() -> None:
        body()
        if going_on(*keys()) != ticks:
            st.rerun()

    section()


def every(run: RunView, key: Key, *, live: float | None) -> float | None:
    """How often the part of the page with that measurement must run by itself, in seconds.

    Each second while it is measured, each `live` seconds while the run trains, else never.
    """
    if going_on(key):
        return TICK_S
    return live if run.live else None


def newest_checkpoint(run: RunView, variant: str) -> int | None:
    """The last step with weights of `variant`, None before the first."""
    stored = run.source.checkpoints(variant)
    return stored[-1] if stored else None


def watch(key: Key) -> bool:
    """Show how far a measurement is, or why it failed; True while it goes on."""
    known = measurements().get(*key)
    if known is None:
        return False
    if known.error is not None:
        st.error(
            _("The measurement ended early. {error} Try again.").format(error=known.error),
            icon=":material/error:",
        )
    if known.going_on:
        with st.container(horizontal=True, gap="medium", vertical_alignment="center"):
            st.progress(min(known.share, 1.0), text=progress_text(known), width=420)
            st.button(
                _("Cancel"), key=f"cancel_{key[1]}", icon=":material/close:",
                on_click=measurements().cancel, args=key,
                help=_("Stops before its next part."),
            )  # fmt: skip
    return known.going_on


def progress_text(known: Measurement) -> str:
    """How many parts are done, and about how long the rest takes."""
    if known.waiting:
        return _("Waiting for another measurement")
    count = _("Measuring: {done} of {parts}").format(done=known.done, parts=known.parts)
    left = known.seconds_left
    if left is None:
        return count
    return _("{count}, about {seconds:.0f} s left").format(count=count, seconds=left)


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
