"""What belongs to the whole process, whoever looks: its runs, its tasks, the maps that it keeps."""

from functools import cache

from bnviz.errors import RunError
from bnviz.i18n import _
from bnviz.records.momentum_maps import KeptMaps
from bnviz.records.store import RECORDED_ID, StoredRun, open_run, recorded_run, runs_folder
from bnviz.training.jobs import Jobs
from bnviz.training.run_view import RunView
from bnviz.training.tasks import Measurements


@cache
def jobs() -> Jobs:
    """The runs that this process trains or has trained."""
    return Jobs()


@cache
def measurements() -> Measurements:
    """What takes long: asked for by one reader, seen by all."""
    return Measurements()


@cache
def kept_maps() -> KeptMaps:
    """Maps of momentum x batch size that no folder could take, and the way to the others."""
    return KeptMaps()


_reopened: dict[str, StoredRun] = {}
MOST_REOPENED = 8


def find_run_view(run_id: str) -> RunView:
    """The run of that id: recorded, of this process, or stored. Raises RunError when there is none.

    An id is looked up among the names of the stored runs and is never part of a path.
    """
    if run_id == RECORDED_ID:
        return RunView(run_id, recorded_run())
    if (job := jobs().get(run_id)) is not None:
        return RunView(run_id, job)
    root = runs_folder()
    folder = next((f for f in root.iterdir() if f.name == run_id), None) if root.is_dir() else None
    if folder is None:
        raise RunError(_("run: there is no run {run!r} here.").format(run=run_id))
    known = _reopened.get(run_id)
    if known is None or known.folder != folder:
        while len(_reopened) >= MOST_REOPENED:
            _reopened.pop(next(iter(_reopened)))
        known = _reopened[run_id] = open_run(folder)
    return RunView(run_id, known)
