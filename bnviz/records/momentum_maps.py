"""Maps of momentum x batch size, kept with their runs; `growing_best` reads one."""

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd

from bnviz.errors import RunError
from bnviz.i18n import _
from bnviz.records.run_files import read_file, write_file
from bnviz.records.run_names import RECORDED_FOLDER

COMPARED_MOMENTA = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.5, 0.9, 1.0)
"""The momenta that are compared: weights of the new batch."""
BATCH_SIZES = (4, 16, 64, 256)


COLUMNS = ["batch_size", "momentum", "accuracy", "mean_error", "noise", "train_images"]


WHOLE = ("batch_size", "train_images")
DEFAULT_IMAGES = 16_000


def map_path(folder: Path, variant: str, images: int) -> Path:
    """Where the map of a run in `folder` is kept."""
    return folder / "maps" / f"{variant}-{images}.json"


def write_map(path: Path, frame: pd.DataFrame) -> None:
    """Write a map, whole or not at all. Raises OSError when it cannot be written."""
    path.parent.mkdir(exist_ok=True)
    rows = json.loads(frame.to_json(orient="records", double_precision=10))
    content = json.dumps({"rows": rows}, indent=1).encode()
    write_file(path.parents[1], f"maps/{path.name}", content)


def read_map(path: Path) -> pd.DataFrame:
    """What `write_map` wrote, maybe of some batch sizes only; empty where there is no file.

    Raises RunError for a file that was cut off, changed or damaged, or has other momenta than COMPARED_MOMENTA.
    """
    try:
        rows = _rows(json.loads(read_file(path.parents[1], f"maps/{path.name}")))
    except FileNotFoundError:
        return pd.DataFrame(columns=COLUMNS)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunError(
            _("The map in {path} cannot be read ({error}). Measure it again.").format(
                path=path, error=error
            )
        ) from error
    frame = pd.DataFrame(rows, columns=COLUMNS).astype(dict.fromkeys(WHOLE, int))
    for batch_size, row in frame.groupby("batch_size"):
        if batch_size not in BATCH_SIZES or tuple(row["momentum"]) != COMPARED_MOMENTA:
            raise RunError(
                _("The map in {path} has other batch sizes or momenta. Measure it again.").format(
                    path=path
                )
            )
    return frame


def _rows(document: dict[str, Any]) -> list[list[float]]:
    """The numbers of a map's document. Raises ValueError, TypeError or KeyError for anything else."""
    rows = []
    for entry in document["rows"]:
        values = [math.nan if entry[n] is None else float(entry[n]) for n in COLUMNS]
        if not 0 <= values[COLUMNS.index("accuracy")] <= 1:
            raise ValueError(f"accuracy {values[COLUMNS.index('accuracy')]}")
        rows.append(values)
    return rows


class KeptMaps:
    """The maps of the runs of a process: in the run's folder, else in memory until the server ends."""

    def __init__(self) -> None:
        self._memory: dict[tuple[str, str, int], tuple[pd.DataFrame, str]] = {}
        self.changes = 0
        """How often one was kept."""

    def load(
        self, run_id: str, folder: Path | None, variant: str, images: int
    ) -> tuple[pd.DataFrame, str]:
        """The map, empty where there is none yet, and a line on what is wrong with it, or ""."""
        if (run_id, variant, images) in self._memory:
            return self._memory[run_id, variant, images]
        if folder is None:
            return pd.DataFrame(columns=COLUMNS), ""
        try:
            return read_map(map_path(folder, variant, images)), ""
        except RunError as error:
            return pd.DataFrame(columns=COLUMNS), str(error)

    def save(
        self, run_id: str, folder: Path | None, variant: str, images: int, frame: pd.DataFrame
    ) -> None:
        """Keep a map, finished or not."""
        self.changes += 1
        try:
            if folder is None:
                note = _("This run is not stored, so this map is kept until the server ends.")
            elif folder == RECORDED_FOLDER:
                note = _(
                    "The recorded run belongs to the package, so this map is kept until the server "
                    "ends."
                )
            else:
                write_map(map_path(folder, variant, images), frame)
                self._memory.pop((run_id, variant, images), None)
                return
        except OSError as error:
            note = _(
                "{folder} cannot be written ({error}), so this map is kept until the server ends."
            ).format(folder=folder, error=error.strerror or error)
        self._memory[run_id, variant, images] = (frame, note)


def best_by_batch_size(
    frame: pd.DataFrame, quantity: str = "accuracy", sign: int = 1
) -> pd.DataFrame:
    """The row of each batch size that is best, ascending."""
    places = (sign * frame[quantity].astype(float)).groupby(frame["batch_size"]).idxmax()
    return frame.loc[places]


def growing_best(frame: pd.DataFrame) -> pd.DataFrame | None:
    """The best row of each batch size of a map, ascending, if the best momentum grows with the batch."""
    if not len(frame):
        return None
    best = best_by_batch_size(frame)
    momenta = best["momentum"]
    return best if momenta.is_monotonic_increasing and momenta.nunique() > 1 else None
