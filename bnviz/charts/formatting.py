"""Numbers in words, the same on every page."""

import numpy as np

from bnviz.i18n import _


def size_words(size: float) -> str:
    """Bytes in the unit that suits them."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= factor:
            return f"{size / factor:,.2f} {unit}"
    return _("{n:,.0f} bytes").format(n=size)


def diverged(steps: np.ndarray, values: np.ndarray) -> str | None:
    """Says that a run has diverged, where the newest of its `values` (points,) is no number."""
    numbers = np.isfinite(values)
    if numbers[-1]:
        return None
    return _(
        "After step {step:,} the statistics of this run are not finite: it diverged, and no "
        "average can be taken any further."
    ).format(step=int(steps[numbers][-1]) if numbers.any() else 0)


def no_probe_yet(every: int) -> str:
    """What stands for a figure of activations or gradients before the first probe of a run."""
    return _("The first probe comes after {every} steps.").format(every=every)


def no_steps_yet() -> str:
    """What stands for a figure of batch statistics before the first step of a run."""
    return _("Batch statistics come with the first steps of the run.")
