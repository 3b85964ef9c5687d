"""The run that the pages show: the selector in the sidebar, and what a reader can do with a run."""

from collections import Counter

import streamlit as st

from bnviz.app.address import put_in_address
from bnviz.errors import BnvizError, RunError
from bnviz.i18n import _
from bnviz.records.store import (
    RECORDED_ID,
    delete_run,
    export_run,
    list_runs,
    recorded_run,
    rename_run,
    runs_folder,
)
from bnviz.training.process import find_run_view, jobs
from bnviz.training.run_view import RunView

RUN_KEY = "run"
_WRITTEN = "run_in_address"


def run_names() -> dict[str, str]:
    """Runs to choose from by their ids: the recorded one, those of this process, stored ones.

    No two have the same name, because a select box of Streamlit 1.67 tells its options by their words.
    """
    here = {job.id: find_run_view(job.id).name for job in jobs().all()}
    stored = {info.id: info.name for info in list_runs(runs_folder())}
    names = {RECORDED_ID: RunView(RECORDED_ID, recorded_run()).name, **here, **stored}
    count = Counter(names.values())
    return {
        k: _("{name} ({id})").format(name=n, id=k) if count[n] > 1 else n for k, n in names.items()
    }


def default_run() -> str:
    """What a page shows that nobody has asked for a run: the one that trains, else the recorded one."""
    job = jobs().going_on
    return RECORDED_ID if job is None else job.id


def show(run_id: str) -> None:
    """In a callback: let every page show the run of that id."""
    st.session_state[RUN_KEY] = run_id


def choose_run() -> RunView:
    """The selector of runs in the sidebar; falls back to the recorded run with a message."""
    names = run_names()
    linked = st.query_params.get(RUN_KEY)
    if linked is not None and linked != st.session_state.get(_WRITTEN):  # a link inside the app
        st.session_state[RUN_KEY] = linked
    value = st.session_state.get(RUN_KEY, default_run())
    st.session_state[RUN_KEY] = value if value in names else RECORDED_ID
    chosen = st.sidebar.selectbox(
        _("Run"),
        list(names),
        key=RUN_KEY,
        format_func=lambda run_id: names[run_id],
        help=_(
            "The recorded run, one that trains now, or a stored one; the pages that show a run show "
            "this one. It is part of the link."
        ),
    )
    put_in_address(RUN_KEY, [chosen])
    st.session_state[_WRITTEN] = chosen
    try:
        run = find_run_view(chosen)
    except RunError as error:
        st.error(str(error), icon=":material/error:")
        return RunView(RECORDED_ID, recorded_run())
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

    def rename() -> None:
        try:
            rename_run(folder, st.session_state["run_name"])
        except BnvizError as error:
            st.session_state["start_error"] = str(error)

    with st.sidebar.popover(_("Rename, export or delete this run")):
        st.text_input(
            _("Name"), run.name, key="run_name", on_change=rename,
            help=_("What the list of runs calls it; the link keeps its id."),
        )  # fmt: skip
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
