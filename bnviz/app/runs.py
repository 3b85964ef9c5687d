"""The run that the pages show: recorded, live or stored, behind one face."""

import math
import time
from dataclasses import dataclass
from typing import Any

import streamlit as st

from bnviz.app.registry import jobs
from bnviz.config import RunConfig
from bnviz.errors import RunError
from bnviz.i18n import _
from bnviz.nn.variants import VARIANTS
from bnviz.records.history import History
from bnviz.records.reading import latest_step
from bnviz.records.running_view import RunningView
from bnviz.records.schema import steps_table
from bnviz.records.store import (
    RECORDED_ID,
    StoredRun,
    delete_run,
    export_run,
    list_runs,
    open_run,
    recorded_run,
    runs_folder,
)
from bnviz.training.jobs import Job

RUN_KEY = "run"
_COMMANDED = "run_commanded"
ECHO_S = 3.0
"""So long after a command the browser may still send the run that it showed before."""


@dataclass(frozen=True)
class RunView:
    """A run as the pages see it."""

    id: str
    source: Job | StoredRun
    chosen: str = ""
    """What the selector says, where that run cannot be opened and this one stands in for it."""

    @property
    def job(self) -> Job | None:
        """The job behind it, if it belongs to this process."""
        return self.source if isinstance(self.source, Job) else None

    @property
    def config(self) -> RunConfig:
        """The settings that the run was started with."""
        return self.source.config

    @property
    def history(self) -> History:
        """What was recorded so far."""
        return self.source.history

    @property
    def summary(self) -> dict[str, Any] | None:
        """What it came to; None while it runs and when it was cut off."""
        return self.source.summary

    @property
    def recorded(self) -> bool:
        """Whether this is the run shipped in the package."""
        return self.id == RECORDED_ID

    @property
    def live(self) -> bool:
        """Whether more may still come."""
        return self.job is not None and not self.job.ended

    def is_left(self) -> bool:
        """Whether a command inside a fragment has chosen another run, so that the page must run."""
        return st.session_state[RUN_KEY] != (self.chosen or self.id)

    @property
    def labels(self) -> dict[str, str]:
        """Names of the variants for legends."""
        return {v: _(VARIANTS[v].label) for v in self.config.variants}

    @property
    def default_variant(self) -> str:
        """Where a figure shows one variant: the last with BN, else the last."""
        able = [v for v in self.config.variants if VARIANTS[v].normalizes]
        return (able or list(self.config.variants))[-1]

    @property
    def steps(self) -> int:
        """The last step that any variant has recorded."""
        return max(latest_step(self.history, v) for v in self.config.variants)

    @property
    def total_steps(self) -> int:
        """Steps that the run has or will have."""
        return self.job.total_steps if self.job is not None and self.live else self.steps

    def settings(self) -> str:
        """The run's own settings in one line: another tab's sliders are not its settings."""
        config = self.config
        now = self.job.settings if self.job is not None else {}
        line = _(
            "This run: batch {batch}, momentum {momentum}, eps {eps}, {optimizer} at lr {lr}, "
            "{activation}, seed {seed}, {dtype}."
        ).format(
            batch=config.batch_size,
            momentum=_number(now.get("momentum", config.momentum)),
            eps=_number(now.get("eps", config.eps)),
            optimizer=config.optimizer,
            lr=_number(now.get("lr", config.lr)),
            activation=config.activation,
            seed=config.seed,
            dtype=config.dtype,
        )
        images = self.job.dataset_line if self.job is not None else ""
        if self.summary is not None:
            found = self.summary["dataset"]
            images = _("{train:,} training images of {name} ({origin})").format(
                train=found["train"], name=found["name"], origin=found["origin"]
            )
        return f"{line} {images}".rstrip(". ") + "."

    def origin(self) -> str:
        """One line that says what is on show: recorded, measured here and now, or reopened."""
        if self.recorded:
            return _(
                "Recorded run, shipped with bnviz so that no page is empty: {steps} steps at batch "
                "{batch}. Made with: {command}"
            ).format(
                steps=self.steps,
                batch=self.config.batch_size,
                command="python -m scripts.record_run",
            )
        if self.live:
            return _("Measured on this run, live.")
        if self.summary is None:
            return _("Reopened run that was cut off; shown up to its last whole record.")
        return _("Measured on this run: {steps} steps in {seconds:.0f} s.").format(
            steps=self.steps, seconds=self.summary["seconds"]
        )


@st.cache_resource(max_entries=8)
def _reopen(run_id: str) -> StoredRun:
    return open_run(runs_folder() / run_id)


def view(run_id: str) -> RunView:
    """The run of that id. Raises RunError when there is none."""
    if run_id == RECORDED_ID:
        return RunView(run_id, recorded_run())
    return RunView(run_id, jobs().get(run_id) or _reopen(run_id))


def run_ids() -> list[str]:
    """Runs to choose from: of this process, stored ones, the recorded one."""
    here = [job.id for job in jobs().all()]
    stored = [info.id for info in list_runs(runs_folder()) if info.id not in here]
    return [RECORDED_ID, *here, *stored]


def _number(value: float | None) -> str:
    return _("cumulative") if value is None else f"{value:g}"


def show(run_id: str) -> None:
    """In a callback: let every page show the run of that id."""
    before = st.session_state.get(RUN_KEY, RECORDED_ID)
    st.session_state[_COMMANDED] = (before, run_id, time.monotonic())
    st.session_state[RUN_KEY] = run_id


def _ignore_echo() -> None:
    """Put back what a command has chosen where a late message of the browser has undone it.

    A tick that the browser sends before it has heard of the command carries the selector's old
    value, which looks as if the reader had chosen it.
    """
    before, commanded, at = st.session_state.get(_COMMANDED, ("", "", -math.inf))
    late = time.monotonic() - at < ECHO_S
    if late and st.session_state.get(RUN_KEY) == before:
        st.session_state[RUN_KEY] = commanded


def choose_run() -> RunView:
    """The selector of runs in the sidebar; falls back to the recorded run with a message."""
    options = run_ids()
    _ignore_echo()
    if st.session_state.get(RUN_KEY) not in options:
        st.session_state.pop(RUN_KEY, None)
    chosen = st.sidebar.selectbox(
        _("Run on show"),
        options,
        key=RUN_KEY,
        bind="query-params",
        help=_(
            "Every page shows this run: the recorded one, one that trains now, or a stored one. "
            "It is part of the link."
        ),
    )
    try:
        run = view(chosen)
    except RunError as error:
        st.error(str(error), icon=":material/error:")
        return RunView(RECORDED_ID, recorded_run(), chosen)
    if not run.recorded and not run.live:
        _manage(run)
    return run


def _manage(run: RunView) -> None:
    """Take a finished run along, or delete it."""
    folder = run.source.folder
    if folder is None:
        return

    def delete() -> None:
        try:
            delete_run(folder)
        except RunError as error:
            st.session_state["start_error"] = str(error)
            return
        jobs().forget(run.id)
        show(RECORDED_ID)

    with st.sidebar.popover(_("Export or delete this run")):
        st.download_button(
            _("Download as ZIP"),
            lambda: export_run(folder),
            file_name=f"{run.id}.zip",
            mime="application/zip",
            icon=":material/download:",
            help=_("Settings, tables, checkpoints and summary."),
        )
        st.button(
            _("Delete for good"),
            on_click=delete,
            icon=":material/delete:",
            key="delete_run",
            help=_("Removes the run's folder from the disk."),
        )


def running_view(
    run: RunView,
    variant: str,
    layer: str,
    channels: tuple[int, ...],
    momenta: tuple[float | None, ...],
    *,
    unbiased: bool | None = None,
) -> RunningView:
    """The reader's view of some channels, kept between ticks so that each reads what is new."""
    views: dict[tuple, RunningView] = st.session_state.setdefault("running_views", {})
    table = run.history[steps_table(variant)]
    key = (id(table), variant, layer, channels, momenta, unbiased)
    if key not in views:
        if len(views) > 24:
            views.clear()
        views[key] = RunningView(
            run.config, run.history, variant, layer, list(channels), momenta, unbiased=unbiased
        )
    return views[key]


def with_statistics(run: RunView) -> list[str]:
    """The variants of the run that have running statistics."""
    return [v for v in run.config.variants if VARIANTS[v].normalizes]
