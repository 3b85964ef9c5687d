"""The figures by name: a figure is a pure function of a run and a selection.

::

    @figure("running_stats/estimators", N_("Estimators over the steps"), needs=("layer", "momentum"))
    def estimators(run: RunView, chosen: Selection) -> Card: ...

Whoever shows one (a page, the route ``figures/…``, ``python -m bnviz figure``) finds it here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bnviz.charts.card import Card
from bnviz.errors import ConfigError
from bnviz.i18n import _

Draw = Callable[[Any, Any], Card]


class NotReady(Exception):
    """Raised by a figure that has nothing to show yet, with what the reader is told instead."""

    def __init__(self, state: str, text: str, progress: float | None = None):
        super().__init__(text)
        self.state, self.text, self.progress = state, text, progress
        """`state` is ``waiting`` (for the run), ``asked``, ``working`` or ``failed``."""


@dataclass(frozen=True)
class FigureEntry:
    """One registered figure."""

    name: str
    """``subject/figure``, as in the address."""
    title: str
    """What the list of figures says."""
    needs: tuple[str, ...]
    """The fields of `Selection` that change it."""
    draw: Draw
    applies: Callable[[Any], str]
    """Of a run: why it cannot be shown, or an empty text where it can."""
    moment: Callable[[], tuple[Any, ...]] | None
    """For a figure that follows no run: what it was like when it was drawn; empty once it is final."""


FIGURES: dict[str, FigureEntry] = {}


def figure(
    name: str,
    title: str,
    *,
    needs: tuple[str, ...] = (),
    applies: Callable[[Any], str] = lambda run: "",
    moment: Callable[[], tuple[Any, ...]] | None = None,
) -> Callable[[Draw], Draw]:
    """Register a function of a run and a `Selection` that returns a Card."""

    def register(draw: Draw) -> Draw:
        FIGURES[name] = FigureEntry(name, title, needs, draw, applies, moment)
        return draw

    return register


def figure_named(name: str) -> FigureEntry:
    """The figure of that name. Raises ConfigError when there is none."""
    if name not in FIGURES:
        raise ConfigError(
            _("figure: got {name!r}; allowed: {names}.").format(
                name=name, names=", ".join(sorted(FIGURES))
            )
        )
    return FIGURES[name]
