"""The weights of a stored run: one safetensors file a step and variant. No torch."""

from pathlib import Path

import numpy as np

from bnviz.config import EARLY_EVALUATIONS
from bnviz.errors import RunError
from bnviz.i18n import _
from bnviz.records.run_files import DamagedFile, read_file


def checkpoint_steps(folder: Path, variant: str) -> list[int]:
    """Steps at which `folder` has weights of `variant`, ascending."""
    names = (folder / "checkpoints").glob(f"*-{variant}.safetensors")
    return sorted(int(path.name.split("-")[0]) for path in names)


def nearest_checkpoint(stored: list[int], step: int | None) -> int:
    """The one of the `stored` steps that is nearest to `step`, the newest for None.

    Raises RunError when none is stored.
    """
    if not stored:
        raise RunError(
            _("No weights are stored yet; the first come after {first} steps of a run.").format(
                first=EARLY_EVALUATIONS[0]
            )
        )
    return stored[-1] if step is None else min(stored, key=lambda at: abs(at - step))


def checkpoint_file(step: int, variant: str) -> str:
    """The name of a checkpoint's file in the folder of its run."""
    return f"checkpoints/{step}-{variant}.safetensors"


def read_checkpoint(folder: Path, step: int, variant: str) -> dict[str, np.ndarray]:
    """The tensors of a checkpoint as arrays. Raises RunError when it is gone or damaged."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    name = checkpoint_file(step, variant)
    try:
        return load(read_file(folder, name))
    except (OSError, DamagedFile, SafetensorError) as error:
        raise RunError(
            _("The checkpoint {path} cannot be read ({error}). Choose another step.").format(
                path=folder / name, error=error
            )
        ) from error
