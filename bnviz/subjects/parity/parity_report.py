"""The layers of this project beside torch's: what `examine` finds, and what they cost."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from bnviz.nn.variants import VARIANTS
from bnviz.subjects.parity.causes import Cause, Examination, examine
from bnviz.subjects.parity.cost import TYPICAL, Timing, saved_bytes, time_ratio
from bnviz.subjects.parity.layer_adapter import TORCH
from bnviz.subjects.parity.parity_cases import cases

COST_DIMS = 4


@dataclass(frozen=True)
class Proof:
    """What was measured of one variant."""

    variant: str
    examinations: list[Examination]
    """One for each of its classes, the one for images last."""
    own_bytes: int
    reference_bytes: int
    """Kept for the backward pass of one train step with an input of `shape`."""
    timing: Timing
    shape: tuple[int, ...] = TYPICAL[COST_DIMS]

    @property
    def frame(self) -> pd.DataFrame:
        """All cases; those of `bnviz.subjects.parity.parity.report` with the class in a column layer."""
        frames = [e.frame.assign(layer=e.name) for e in self.examinations]
        return pd.concat(frames, ignore_index=True)

    @property
    def passed(self) -> bool:
        """Whether all classes do what torch's do."""
        return all(e.passed for e in self.examinations)

    @property
    def causes(self) -> list[Cause]:
        """Why not, each cause once."""
        found: dict[str, Cause] = {}
        for examination in reversed(self.examinations):
            for cause in examination.causes:
                found.setdefault(cause.code, cause)
        return list(found.values())


def hand_written() -> list[str]:
    """The variants that normalize and are this project's code."""
    return [key for key, v in VARIANTS.items() if v.normalizes and v.hand_written]


def classes_of(variant: str) -> list[type]:
    """The classes of a variant's layers: for (N, C), then for (N, C, H, W) if it is another."""
    layers = [type(VARIANTS[variant].factory(2, dims)) for dims in (2, 4)]
    return list(dict.fromkeys(layers))


def prove(variant: str, progress: Callable[[int, int], None] | None = None) -> Proof:
    """Every case, fingerprint and cost of a variant's classes beside torch's.

    `progress` is called before each part with how many are done, of how many.
    """
    classes = classes_of(variant)
    total = len(cases()) + 1
    done_before = 0

    def report_progress(done: int, _parts: int) -> None:
        if progress is not None:
            progress(min(done_before + done, total - 1), total)

    examinations = []
    for cls in classes:
        examinations.append(examine(cls, progress=report_progress))
        done_before += len(examinations[-1].frame)
    report_progress(0, total)
    return Proof(
        variant,
        examinations,
        saved_bytes(classes[-1], COST_DIMS),
        saved_bytes(TORCH[COST_DIMS], COST_DIMS),
        time_ratio(classes[-1], dims=COST_DIMS),
    )
