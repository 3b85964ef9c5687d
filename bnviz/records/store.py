"""Stored runs: a run is a folder.

::

    <id>/config.json            the RunConfig
    <id>/<table>.arrow          the tables of the history, Arrow IPC streams
    <id>/events.json            settings changed in mid-run, variants stopped, tests made
    <id>/checkpoints/<step>-<variant>.safetensors
    <id>/summary.json           written at the end; a run without it was cut off

JSON files and checkpoints are written under a temporary name and renamed, so none is ever half
written; a table that was cut off opens up to its last whole chunk. Nothing is pickled. Reading a
run does not load torch.
"""

import io
import itertools
import json
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from bnviz.config import RunConfig
from bnviz.errors import BnvizError, RunError
from bnviz.i18n import _
from bnviz.records.history import History, read_table
from bnviz.records.schema import schemas

RECORDED_FOLDER = Path(__file__).parents[1] / "assets" / "recorded"
RECORDED_ID = "recorded"


def runs_folder() -> Path:
    """Where the app keeps its runs: ``BNVIZ_RUNS`` or the user's data folder."""
    own = os.environ.get("BNVIZ_RUNS")
    return Path(own).expanduser() if own else platformdirs.user_data_path("bnviz") / "runs"


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, then rename it: whole or not at all."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
        temporary = Path(file.name)
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
    temporary.replace(path)


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
            write_atomically(self.folder / "config.json", config.model_dump_json(indent=1).encode())
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

        content = save({name: tensor.contiguous() for name, tensor in state.items()})
        self._write(Path("checkpoints") / f"{step}-{variant}.safetensors", content)

    def finish(self, summary: dict[str, Any]) -> None:
        """End the tables and write events and summary."""
        self.history.close()
        self._write(Path("events.json"), _json(self.history.events))
        self._write(Path("summary.json"), _json(summary))

    def _write(self, path: Path, content: bytes) -> None:
        try:
            write_atomically(self.folder / path, content)
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

    def checkpoints(self, variant: str) -> list[int]:
        """Steps at which weights of `variant` were stored, ascending."""
        return checkpoint_steps(self.folder, variant)

    def checkpoint(self, step: int, variant: str) -> dict[str, np.ndarray]:
        """The tensors of a checkpoint as arrays. Raises RunError when it is gone."""
        return read_checkpoint(self.folder, step, variant)


def checkpoint_steps(folder: Path, variant: str) -> list[int]:
    """Steps at which `folder` has weights of `variant`, ascending."""
    names = (folder / "checkpoints").glob(f"*-{variant}.safetensors")
    return sorted(int(path.name.split("-")[0]) for path in names)


def nearest_checkpoint(stored: list[int], step: int | None) -> int:
    """The one of the `stored` steps that is nearest to `step`, the newest for None.

    Raises RunError when none is stored.
    """
    if not stored:
        raise RunError(_("No weights are stored yet; the first come after 20 steps of a run."))
    return stored[-1] if step is None else min(stored, key=lambda at: abs(at - step))


def read_checkpoint(folder: Path, step: int, variant: str) -> dict[str, np.ndarray]:
    """The tensors of a checkpoint as arrays. Raises RunError when it is gone or damaged."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = folder / "checkpoints" / f"{step}-{variant}.safetensors"
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise RunError(
            _("The checkpoint {path} cannot be read ({error}). Choose another step.").format(
                path=path, error=error
            )
        ) from error


def open_run(folder: Path) -> StoredRun:
    """Read a stored run; a run that was cut off opens up to its last whole chunk.

    Raises RunError when it is no run or cannot be read.
    """
    try:
        config = RunConfig.from_json((folder / "config.json").read_bytes())
        events = folder / "events.json"
        summary = folder / "summary.json"
        history = History({})
        for name, schema in schemas(config.variants).items():
            history.tables[name] = read_table(folder / f"{name}.arrow", schema)
        history.events = json.loads(events.read_bytes()) if events.exists() else []
        found = json.loads(summary.read_bytes()) if summary.exists() else None
    except RunError:
        raise
    except (OSError, ValueError, BnvizError) as error:
        raise RunError(
            _("{folder} cannot be opened as a run ({error}). Delete it or choose another.").format(
                folder=folder, error=error
            )
        ) from error
    return StoredRun(folder.name, folder, config, history, found)


@lru_cache(maxsize=1)
def recorded_run() -> StoredRun:
    """The short run shipped in the package, so that no page is ever empty."""
    return open_run(RECORDED_FOLDER)


def find_run(name: str) -> StoredRun:
    """The run in the folder `name`, the one of that id in `runs_folder`, or the recorded one.

    Raises RunError when there is none or it cannot be read.
    """
    for folder in (Path(name).expanduser(), runs_folder() / name):
        if (folder / "config.json").is_file():
            return open_run(folder.resolve())
    if name == RECORDED_ID:
        return recorded_run()
    stored = [RECORDED_ID, *(run.id for run in list_runs(runs_folder()))]
    raise RunError(
        _("run: got {name!r}; allowed: the folder of a stored run, or one of {ids}.").format(
            name=name, ids=", ".join(stored)
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


def list_runs(root: Path) -> list[RunInfo]:
    """The stored runs under `root`, newest first; folders that are no run are left out."""
    found = []
    if not root.is_dir():
        return []
    for folder in root.iterdir():
        file = folder / "config.json"
        try:
            config = RunConfig.from_json(file.read_bytes())
        except (OSError, BnvizError):
            continue
        modified = datetime.fromtimestamp(file.stat().st_mtime)
        found.append(
            RunInfo(folder.name, folder, config, modified, (folder / "summary.json").exists())
        )
    return sorted(found, key=lambda run: run.modified, reverse=True)


def delete_run(folder: Path) -> None:
    """Delete a stored run: first out of sight by renaming, then from the disk.

    Raises RunError when it is not a run or cannot be deleted.
    """
    if not (folder / "config.json").is_file():
        raise RunError(_("{folder} is not a stored run; nothing deleted.").format(folder=folder))
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
    base = f"{time.strftime('%Y%m%d-%H%M%S')}-{'-'.join(config.variants)}"
    names = (base if k == 1 else f"{base}-{k}" for k in itertools.count(1))
    return next(n for n in names if n not in taken and not (root and (root / n).exists()))
