"""What a case came to: whether two tensors agree, by how much they differ, and the reason in words."""

from dataclasses import dataclass, field
from math import inf, nan

import torch
from torch import Tensor

from bnviz.i18n import _

TOLERANCE = {
    torch.float16: (1e-3, 1e-5),
    torch.bfloat16: (1.6e-2, 1e-5),
    torch.float32: (1.3e-6, 1e-5),
    torch.float64: (1e-7, 1e-7),
}
"""By dtype: relative and absolute tolerance, the defaults of `torch.testing.assert_close`."""
PARTS = ("output", "gradient", "buffers", "refusal", "checkpoint", "dtype", "copy")
"""What a case can differ in. checkpoint is its state_dict, dtype a change of it, copy a deepcopy."""


@dataclass
class Outcome:
    """What a case came to."""

    agrees: bool | None = True
    """None where it could not be measured."""
    differs_in: list[str] = field(default_factory=list)
    """Of PARTS."""
    differences: dict[str, float] = field(default_factory=dict)
    """Largest absolute difference of outputs, gradients and buffers."""
    of_tolerance: float = nan
    """The largest difference as a share of what is allowed for its value; nan without numbers."""
    detail: str = ""

    def differ(self, part: str, reason: str) -> None:
        """Note a difference; the first reason is kept."""
        self.agrees = False
        if part not in self.differs_in:
            self.differs_in.append(part)
        self.detail = self.detail or reason


def compare(
    outcome: Outcome,
    number: int,
    name: str,
    mine: Tensor | None,
    theirs: Tensor | None,
    exact: Tensor | None,
) -> None:
    """Compare one value of one pass and note what differs."""
    kind = name.split()[0]
    part = "buffers" if kind == "running" else kind
    key = "buffer" if kind == "running" else kind
    where = _("{name} in pass {number}").format(name=_(name), number=number)
    if theirs is None and mine is None:
        return
    if theirs is None or mine is None or mine.shape != theirs.shape:
        outcome.differ(part, _("{where}: {own}, the reference has {reference}").format(
            where=where, own=shape_in_words(mine), reference=shape_in_words(theirs)))  # fmt: skip
        return
    if kind == "output" and mine.dtype != theirs.dtype:
        outcome.differ(part, _("{where} is {own}, the reference's {reference}").format(
            where=where, own=dtype_in_words(mine.dtype), reference=dtype_in_words(theirs.dtype)))  # fmt: skip
    answers = [theirs] if exact is None else [theirs, exact.to(theirs.dtype)]
    found = [(*distance(mine, answer), answer) for answer in answers]
    difference, share, answer = min(found, key=lambda f: f[1])
    outcome.differences[key] = max(outcome.differences.get(key, 0.0), difference)
    outcome.of_tolerance = max(share, outcome.of_tolerance)  # of a number and nan, the number
    try:
        torch.testing.assert_close(mine, answer, equal_nan=True, check_dtype=False)
    except AssertionError:
        outcome.differ(part, _(
            "{where} differs by {difference:.3g}, {share:.3g} times the tolerance"
        ).format(
            where=where, difference=difference, share=share))  # fmt: skip


def distance(mine: Tensor, theirs: Tensor) -> tuple[float, float]:
    """Largest absolute difference, and largest share of the tolerance; infinite beside a NaN."""
    rtol, atol = max(TOLERANCE[t.dtype] for t in (mine, theirs))
    a, b = mine.double(), theirs.double()
    same = (a == b) | (a.isnan() & b.isnan())
    gap = torch.where(same, 0.0, (a - b).abs()).nan_to_num(nan=inf, posinf=inf)
    share = torch.where(same, 0.0, gap / (atol + rtol * b.abs())).nan_to_num(nan=inf, posinf=inf)
    return (float(gap.max()), float(share.max())) if gap.numel() else (0.0, 0.0)


def shape_in_words(value: Tensor | None) -> str:
    """The shape of a tensor, or that there is none."""
    return _("none") if value is None else _("one of shape {shape}").format(shape=tuple(value.shape))  # fmt: skip


def dtype_in_words(dtype: torch.dtype | None) -> str:
    """The name of a dtype, or that there is none."""
    return _("none") if dtype is None else str(dtype).removeprefix("torch.")


def in_one_line(error: Exception) -> str:
    """Type and message of an error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
