"""Tasks on a page: one panel for all that takes long, from the question to what was found."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from bnviz.app.live import live_states
from bnviz.app.states import state_of_run, state_of_task, task_id
from bnviz.config import EARLY_EVALUATIONS
from bnviz.i18n import _, sentences
from bnviz.training.process import measurements
from bnviz.training.run_view import RunView
from bnviz.training.tasks import Key, Progress
from bnviz.units import duration

OTHERS_SHOWN = 5


@dataclass(frozen=True)
class Task:
    """What takes long and is measured when a reader asks; all readers share what is found.

    asked → waiting for its turn → working (progress, time left, cancel) → ready or failed, and
    measured again where `again` says what for.
    """

    key: Key
    """Its place among the measurements of the process: run or page, kind, options."""
    measure: Callable[[Progress], Any]
    """What the thread calls."""
    button: str
    """Words of the button until something was found."""
    expected_s: float
    """About how long it takes on two cores, in seconds."""
    question: str = ""
    """What it answers, in sentences; shown until something was found."""
    again: str = ""
    """Words of the button once something was found; empty where a second time finds the same."""
    help: str = ""
    """What the button does beside measuring."""
    unable: str = ""
    """Why it cannot begin; empty where it can."""
    named: Callable[[Key], str] | None = None
    """Its options in words, where other options have keys of their own."""
    choose: Callable[[Key], None] = lambda key: None
    """Moves the controls to the options of a key."""
    on_start: Callable[[], None] = lambda: None
    """Called when this reader begins it."""

    @property
    def found(self) -> Any:
        """What was measured, None before."""
        known = measurements().get(*self.key)
        return None if known is None else known.found

    @property
    def error(self) -> str | None:
        """Why it failed when it was last measured, None where it did not."""
        known = measurements().get(*self.key)
        return None if known is None else known.error

    @property
    def going_on(self) -> bool:
        """Whether it is at work or waits for its turn."""
        known = measurements().get(*self.key)
        return known is not None and known.going_on

    def panel(self) -> Any:
        """Question and button, progress, or why it failed; then what was found, None before."""
        _watch(self.key, self.key[1])
        if self.named is not None:
            self._show_others(self.named)
        if not self.going_on and (self.found is None or self.again):
            self._offer()
        return self.found

    def _offer(self) -> None:
        """The button that begins it, below what it answers."""
        first = self.found is None
        if first and self.question:
            st.markdown(self.question)
        if self.unable:
            st.info(self.unable, icon=":material/info:")
            return
        if st.button(
            self.button if first else self.again,
            type="primary" if first else "secondary",
            icon=":material/straighten:",
            key=f"measure_{self.key[1]}" if first else f"measure_again_{self.key[1]}",
            help=sentences(
                self.help, _("Takes about {time}.").format(time=duration(self.expected_s))
            ),
        ):
            self.on_start()
            measurements().begin(*self.key, work=self.measure)
            st.rerun()

    def _show_others(self, named: Callable[[Key], str]) -> None:
        """The same task with other options, which the page would lose sight of.

        One that goes on is watched; to the last OTHERS_SHOWN that found something a button leads.
        """
        others = {
            key: measurements().get(*key)
            for key in measurements().asked_for(*self.key[:2])
            if key != self.key
        }
        for key, other in others.items():
            if other is not None and other.going_on:
                st.caption(_("Going on with {controls}:").format(controls=named(key)))
                _watch(key, "_".join(key[1:]))
        done = [k for k, o in others.items() if o and not o.going_on and o.found is not None]
        for key in done[-OTHERS_SHOWN:]:
            st.button(
                _("Show what was measured with {controls}").format(controls=named(key)),
                key="_".join(key[1:]), icon=":material/history:", on_click=self.choose, args=(key,),
                help=_("Moves the controls back to these."),
            )  # fmt: skip


def task_on_weights(
    run: RunView, variant: str, *, measured_at: Callable[[Any], int], **options: Any
) -> Task:
    """A task on the newest weights of `variant`, to be measured again once there are newer ones.

    `measured_at` is the step of what was found; `options` are those of `Task`.
    """
    task, newest = Task(button=_("Measure"), **options), newest_checkpoint(run, variant)
    if newest is None:
        return replace(task, unable=no_weights_yet())
    if task.found is None or newest <= (step := measured_at(task.found)):
        return task
    return replace(
        task,
        again=_("Measure again, at step {step:,}").format(step=newest),
        help=_("What is shown was measured at step {step:,}.").format(step=step),
    )


def no_weights_yet() -> str:
    """Why nothing can be measured at the start of a run."""
    return _("No weights are stored in this run yet; the first come after {first} steps.").format(
        first=EARLY_EVALUATIONS[0]
    )


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


def _watch(key: Key, name: str) -> None:
    """How far a measurement is, or why it failed; `name` tells its Cancel from that of others."""
    known = measurements().get(*key)
    if known is None:
        return
    if known.error is not None:
        st.error(
            _("The measurement ended early. {error} Try again.").format(error=known.error),
            icon=":material/error:",
        )
    if known.going_on:
        live_states([state_of_task(key)], {"task": [task_id(key)]}, key=f"state_{name}")
        st.button(
            _("Cancel"), key=f"cancel_{name}", icon=":material/close:",
            on_click=measurements().cancel, args=key, help=_("Stops before its next part."),
        )  # fmt: skip
