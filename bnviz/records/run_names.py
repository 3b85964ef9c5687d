"""Where the runs of this machine lie, and what they are called: by folder, by id, by a person."""

import os
from datetime import datetime
from pathlib import Path

import platformdirs

from bnviz.config import RunConfig
from bnviz.i18n import _
from bnviz.nn.variants import VARIANTS
from bnviz.records.run_files import read_file

RECORDED_FOLDER = Path(__file__).parents[1] / "assets" / "recorded"
RECORDED_ID = "recorded"
NAME_FILE, NAME_LENGTH = "name.txt", 80
ID_TIME = "%Y%m%d-%H%M%S"


def runs_folder() -> Path:
    """Where the app keeps its runs: ``BNVIZ_RUNS`` or the user's data folder."""
    own = os.environ.get("BNVIZ_RUNS")
    return Path(own).expanduser() if own else platformdirs.user_data_path("bnviz") / "runs"


def run_name(config: RunConfig, run_id: str, folder: Path | None = None) -> str:
    """The name that was chosen for a run (`rename_run`), else one made from its settings.

    For example ``Hand-written BN + nn.BatchNorm, batch 16, 12:31``, with the time at which the run
    began, as its id says it or else the date of its settings on the disk.
    """
    if folder is not None and (chosen := _chosen_name(folder)):
        return chosen
    if folder == RECORDED_FOLDER:
        return _("Recorded run")
    return _("{variants}, batch {batch}, {time:%H:%M}").format(
        variants=" + ".join(_(VARIANTS[variant].label) for variant in config.variants),
        batch=config.batch_size,
        time=_begun(run_id, folder),
    )


def _chosen_name(folder: Path) -> str:
    try:
        return read_file(folder, NAME_FILE).decode()
    except (OSError, ValueError):  # a damaged name is no reason to refuse a run; `damage` says so
        return ""


def _begun(run_id: str, folder: Path | None) -> datetime:
    try:
        return datetime.strptime(run_id[: len("20260101-120000")], ID_TIME)
    except ValueError:
        file = folder and folder / "config.json"
        return datetime.fromtimestamp(file.stat().st_mtime) if file else datetime.now()
