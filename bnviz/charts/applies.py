"""Why a figure cannot be shown of a run, in words that say what would help; empty where it can."""

from functools import partial

from bnviz.charts.registry import figure
from bnviz.i18n import _
from bnviz.training.run_view import RunView


def needs_bn(run: RunView) -> str:
    """A figure of running statistics."""
    if run.with_statistics:
        return ""
    return _("This run has no BN, so it has no running statistics. Choose another run.")


bn_figure = partial(figure, applies=needs_bn)
"""Registers a figure of running statistics, see `figure`."""
