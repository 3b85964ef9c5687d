"""Eval mode before and after its statistics were replaced."""

from bnviz.charts.marks import Figure
from bnviz.charts.theme import colour
from bnviz.i18n import _
from bnviz.subjects.modes.side_effects_figures import accuracies


def before_and_after(before: float, after: float, variant: str) -> Figure:
    """Two bars: accuracy in eval mode (0 to 1) with the layers' own statistics and with the recalibrated."""
    shades = [colour(variant, 0.4), colour(variant, 0.9)]
    return accuracies({_("the layers' own"): before, _("recalibrated"): after}, shades)
