"""Stored runs: a run is a folder.

::

    <id>/config.json            the RunConfig
    <id>/checksums.txt          a checksum of each part that was written (`run_files`)
    <id>/<table>.arrow          the tables of the history, Arrow IPC streams
    <id>/events.json            settings changed in mid-run, variants stopped, tests made
    <id>/checkpoints/<step>-<variant>.safetensors
    <id>/name.txt               the name that was chosen for it, if one was
    <id>/summary.json           written at the end; a run without it was cut off

JSON files and checkpoints are written under a temporary name and renamed, so none is ever half
written; a table that was cut off opens up to its last whole chunk. Every file is compared with its
checksum when it is read, and a damaged one is refused by name; runs that were stored before there
were checksums still open, and are called unverified. Nothing is pickled. Reading a run does not
load torch.
"""

import io
import itertools
import json
import shutil
import time
import zipfile
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from bnviz.config import RunConfig
from bnviz.errors import BnvizError, ConfigError, RunError
from bnviz.i18n import _
from bnviz.records.checkpoint_files import checkpoint_file, checkpoint_steps, read_checkpoint
from bnviz.records.checkpoint_files import nearest_checkpoint as nearest_checkpoint
from bnviz.records.history import History, Table, read_table
from bnviz.records.run_files import (
    CHECKSUMS,
    DamagedFile,
    begin_checksums,
    checksums,
    intact_length,
    read_file,
    stored_files,
    write_file,
)
from bnviz.records.run_names import (
    ID_TIME,
    NAME_FILE,
    NAME_LENGTH,
    RECORDED_FOLDER,
    RECORDED_ID,
    run_name,
    runs_folder,
)
from bnviz.records.schema import schemas


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1).encode()


class RunWriter:
    """Writes one run into a new folder under `root`.

    A disk that fills up later does not stop the run: `error` says why, and what was written
    before stays readable. Raises RunError when the folder cannot be made.
    """

    def __init__(self, root: Path, run_id: str, config: RunConfig):
        self.folder = root / run_id
        self._failed: str | None = None
        try:
            (self.folder / "checkpoints").mkdir(parents=True)
            begin_checksums(self.folder)
            write_file(self.folder, "config.json", config.model_dump_json(indent=1).encode())
        except OSError as error:
            raise RunError(
                _(
                    "The run cannot be stored in {folder} ({error}). Set BNVIZ_RUNS to a folder "
                    "that can be written."
                ).format(folder=self.folder, error=error.strerror or error)
            ) from error
        self.history = History(schemas(config.variants), self.folder)

    def checkpoint(self, step: int, variant: str, state: dict[str, Any]) -> None:
        """Store tensors by name (see `bnviz.nn.state.snapshot`)."""
        from safetensors.torch import save

        self.history.flush()  # so that a run which is killed has the record of its weights
        content = save({name: tensor.contiguous() for name, tensor in state.items()})
        self._write(checkpoint_file(step, variant), content)

    def finish(self, summary: dict[str, Any]) -> None:
        """End the tables and write events and summary."""
        self.history.close()
        self._write("events.json", _json(self.history.events))
        self._write("summary.json", _json(summary))

    def _write(self, name: str, content: bytes) -> None:
        try:
            write_file(self.folder, name, content)
        except OSError as error:
            self._failed = error.strerror or str(error)

    @property
    def error(self) -> str | None:
        """Why the run can no longer be stored, with the remedy, or None."""
        reason = self._failed or self.history.error
        return reason and _(
            "The run can no longer be stored in {folder} ({reason}). It goes on in memory, and "
            "what was stored before stays readable. Free some space and start again to keep all."
        ).format(folder=self.folder, reason=reason)


@dataclass(frozen=True)
class StoredRun:
    """A run read back from its folder; `summary` is None when it was cut off."""

    id: str
    folder: Path
    config: RunConfig
    history: History
    summary: dict[str, Any] | None

    @property
    def name(self) -> str:
        """What a person calls it, see `run_name`."""
        return run_name(self.config, self.id, self.folder)

    @property
    def verified(self) -> bool:
        """Whether its files were compared with checksums; not of a run from before there were any."""
        return is_verified(self.folder)

    def checkpoints(self, variant: str) -> list[int]:
        """Steps at which weights of `variant` were stored, ascending."""
        return checkpoint_steps(self.folder, variant)

    def checkpoint(self, step: int, variant: str) -> dict[str, np.ndarray]:
        """The tensors of a checkpoint as arrays. Raises RunError when it is gone."""
        return read_checkpoint(self.folder, step, variant)


def open_run(folder: Path) -> StoredRun:
    """Read a stored run; a run that was cut off opens up to its last whole chunk.

    Its settings, tables, events and summary are compared with their checksums; weights and maps
    when they are read. A run that ended has its events and all its tables, but those that can be
    without rows; of one that was cut off, what is missing counts as not written yet.

    Raises RunError when it is no run, cannot be read or is damaged.
    """
    try:
        config = RunConfig.from_json(read_file(folder, "config.json"))
        summary = _read_json(folder, "summary.json", None)
        history = History({})
        history.tables |= _read_tables(folder, config, summary)
        history.events = _read_json(folder, "events.json", [], needed=summary is not None)
    except RunError:
        raise
    except (OSError, ValueError, BnvizError) as error:
        raise RunError(
            _("{folder} cannot be opened as a run ({error}). Delete it or choose another.").format(
                folder=folder, error=error
            )
        ) from error
    return StoredRun(folder.name, folder, config, history, summary)


def _read_json(folder: Path, name: str, otherwise: Any, *, needed: bool = False) -> Any:
    """What a JSON file of a run says, `otherwise` where there is none and none is `needed`."""
    try:
        return json.loads(read_file(folder, name))
    except FileNotFoundError:
        if needed:
            raise
        return otherwise


def _read_tables(
    folder: Path, config: RunConfig, summary: dict[str, Any] | None
) -> dict[str, Table]:
    """All tables of a run; `summary` is None when it was cut off. Raises RunError."""
    parts, finished = checksums(folder), summary is not None
    stepped = summary and any(entry["steps"] for entry in summary["variants"].values())
    tables = {}
    for name, schema in schemas(config.variants).items():
        path = folder / f"{name}.arrow"
        known = None if parts is None else parts.get(path.name, [])
        # Whose variants all diverged at once has no evaluation; gradients have to be asked for.
        may_be_empty = not stepped or name.startswith(("evaluations", "gradients"))
        if may_be_empty and not known and not path.exists():
            tables[name] = Table(schema)
        else:
            tables[name] = read_table(path, schema, finished=finished, parts=known)
    return tables


def is_verified(folder: Path) -> bool:
    """Whether the files of a run have checksums, which are compared when they are read."""
    return (folder / CHECKSUMS).exists()


def damage(folder: Path) -> list[str]:
    """A sentence on each damaged file of a stored run; none where all is as it was written.

    Reads every file. Of a run without checksums only what cannot be read at all is found.
    """
    parts, finished = checksums(folder), (folder / "summary.json").exists()
    found = []
    for name in stored_files(folder):
        try:
            if parts is not None and name.endswith(".arrow"):
                content = memoryview((folder / name).read_bytes())
                intact_length(name, content, parts.get(name, []), finished=finished)
            else:
                read_file(folder, name)
        except (OSError, DamagedFile) as error:
            found.append(
                _("{path} is damaged ({error}): copy it again from where it is whole.").format(
                    path=folder / name, error=error
                )
            )
    if not found:
        try:
            open_run(folder)
        except RunError as error:
            found.append(str(error))
    return found


@lru_cache(maxsize=1)
def recorded_run() -> StoredRun:
    """The short run shipped in the package, so that no page is ever empty."""
    return open_run(RECORDED_FOLDER)


def run_folder(name: str) -> Path:
    """The folder `name`, that of the run of this id in `runs_folder`, or that of the recorded one.

    Raises RunError when there is no run.
    """
    for folder in (Path(name).expanduser(), runs_folder() / name):
        if (folder / "config.json").is_file():
            return folder.resolve()
    if name == RECORDED_ID:
        return RECORDED_FOLDER
    stored = [RECORDED_ID, *(run.id for run in list_runs(runs_folder()))]
    raise RunError(
        _("run: got {name!r}; allowed: the folder of a stored run, or one of {ids}.").format(
            name=name, ids=", ".join(stored)
        )
    )


def find_run(name: str) -> StoredRun:
    """The run that `run_folder` finds under that name, opened.

    Raises RunError when there is none or it cannot be read.
    """
    folder = run_folder(name)
    return recorded_run() if folder == RECORDED_FOLDER else open_run(folder)


def rename_run(folder: Path, name: str) -> None:
    """Give a stored run the name that a person chose; it is kept in its folder.

    Raises ConfigError for a name that is empty, longer than NAME_LENGTH or has more than one line,
    RunError for the recorded run, for what is no run and when it cannot be written.
    """
    name = name.strip()
    if not (0 < len(name) <= NAME_LENGTH and name.isprintable()):
        raise ConfigError(
            _("name: got {name!r}; allowed: 1 to {length} characters on one line.").format(
                name=name, length=NAME_LENGTH
            )
        )
    _check_changeable(folder)
    try:
        write_file(folder, NAME_FILE, name.encode())
    except OSError as error:
        raise RunError(
            _("{folder} cannot be renamed ({error}). Free some space.").format(
                folder=folder, error=error.strerror or error
            )
        ) from error


def _check_changeable(folder: Path) -> None:
    """Raises RunError for the recorded run and for what is no run."""
    if folder == RECORDED_FOLDER:
        raise RunError(_("The recorded run belongs to the package; choose a run of your own."))
    if not (folder / "config.json").is_file():
        raise RunError(
            _("{folder} is not a stored run, so nothing was done; choose another folder.").format(
                folder=folder
            )
        )


@dataclass(frozen=True)
class RunInfo:
    """What a list of runs shows of one, without opening its tables."""

    id: str
    folder: Path
    config: RunConfig
    modified: datetime
    finished: bool
    verified: bool
    """Whether its files have checksums; not of a run that was stored before there were any."""

    @property
    def name(self) -> str:
        """What a person calls it, see `run_name`."""
        return run_name(self.config, self.id, self.folder)


def list_runs(root: Path) -> list[RunInfo]:
    """The stored runs under `root`, newest first.

    Folders that are no run are left out, and runs whose settings are damaged: `damage` names them.
    """
    found = []
    if not root.is_dir():
        return []
    for folder in root.iterdir():
        file = folder / "config.json"
        try:
            config = RunConfig.from_json(read_file(folder, file.name))
        except (OSError, DamagedFile, BnvizError):
            continue
        modified = datetime.fromtimestamp(file.stat().st_mtime)
        finished = (folder / "summary.json").exists()
        found.append(RunInfo(folder.name, folder, config, modified, finished, is_verified(folder)))
    return sorted(found, key=lambda run: run.modified, reverse=True)


def delete_run(folder: Path) -> None:
    """Delete a stored run: first out of sight by renaming, then from the disk.

    Raises RunError for the recorded run, when it is not a run and when it cannot be deleted.
    """
    _check_changeable(folder)
    hidden = folder.with_name(f".deleted-{folder.name}")
    try:
        folder.rename(hidden)
        shutil.rmtree(hidden)
    except OSError as error:
        raise RunError(
            _("{folder} cannot be deleted ({error}).").format(folder=folder, error=error)
        ) from error


def export_run(folder: Path) -> bytes:
    """A stored run as a ZIP archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, Path(folder.name) / path.relative_to(folder))
    return buffer.getvalue()


def new_run_id(config: RunConfig, root: Path | None, taken: Collection[str] = ()) -> str:
    """A name for a new run that a person can read: date, time, variants."""
    base = f"{time.strftime(ID_TIME)}-{'-'.join(config.variants)}"
    names = (base if k == 1 else f"{base}-{k}" for k in itertools.count(1))
    return next(n for n in names if n not in taken and not (root and (root / n).exists()))
