"""The figure of Home: a layer's input before BN and after normalizing, at one step."""

from typing import Any

import numpy as np

from bnviz.charts.card import Card
from bnviz.charts.formatting import no_probe_yet
from bnviz.charts.histogram import bin_edges, ends, outline
from bnviz.charts.marks import Figure, drawing, grid, one_entry
from bnviz.charts.registry import NotReady, figure
from bnviz.charts.theme import axis, colour, stroke
from bnviz.i18n import N_, _
from bnviz.records.reading import density, stage_quantiles, stage_range
from bnviz.records.schema import stages_table
from bnviz.selection import Selection
from bnviz.training.run_view import RunView

VARIANT = "builtin"
Side = tuple[np.ndarray, np.ndarray, np.ndarray]
Probe = tuple[int, dict[str, np.ndarray]]
"""Its step, and quantiles by stage."""


def before_after(before: Side, after: Side) -> Figure:
    """Two panels: before BN, after normalizing.

    Each side is bin edges, shares (0 to 1) at the first probe, and shares at the chosen step.
    """
    looks: dict[str, tuple[str, dict[str, Any]]] = {
        "first": (_("first probe"), {"line": stroke("batch", "dot", 1.5)}),
        "now": (
            _("chosen step"),
            {"line": stroke(VARIANT), "fill": "tozeroy", "fillcolor": colour(VARIANT, 0.2)},
        ),
    }
    data, xs, ys = [], [], []
    for k, (edges, *shares) in enumerate((before, after)):
        data += [
            outline(k, edges, share, **look, **one_entry(name, group, shown=k == 0))
            for share, (group, (name, look)) in zip(shares, looks.items(), strict=True)
        ]
        xs.append(axis("value", range=ends(edges)))
        ys.append({**(axis("density") if k == 0 else {}), "rangemode": "tozero"})
    panels = grid(xs, ys, [_("before BN"), _("after normalizing")], 2)
    return drawing(data, panels, legend_y=1.12)


def needs_builtin(run: RunView) -> str:
    """The figure shows nn.BatchNorm."""
    if VARIANT in run.config.variants:
        return ""
    return _("This run has no nn.BatchNorm. Choose another run.")


@figure(
    "home/before_after",
    N_("A layer's inputs before BN and after normalizing"),
    needs=("layer", "step"),
    applies=needs_builtin,
)
def before_and_after(run: RunView, chosen: Selection) -> Card:
    """Before and after BN at a step of the recorded run, with the first probe behind."""
    layer = chosen.layer
    steps = run.history[stages_table(VARIANT)].column("step")
    if not len(steps):
        raise NotReady("waiting", no_probe_yet(run.config.stages_every))
    now, first = (
        stage_quantiles(run.config, run.history, VARIANT, layer, at)
        for at in (chosen.step, int(steps[0]))
    )
    now = now or first  # a step before the first probe
    assert now is not None and first is not None
    sides = []
    for stage in ("input", "normalized"):
        edges = bin_edges(*stage_range(run.config, run.history, layer, stage))
        sides.append((edges, density(first[1][stage], edges), density(now[1][stage], edges)))
    return Card(
        key="before_after",
        title=_("Before BN the values drift, after normalizing they do not: {layer}").format(
            layer=layer
        ),
        figure=before_after(*sides),
        sentence=_sentence(first, now),
        alt=_("Histogram of a layer's inputs before BN and after normalizing"),
        height=340,
    )


def _sentence(first: Probe, now: Probe) -> str:
    """Mean and spread of the inputs at both steps, and of the normalized values at the second."""
    earlier, later, normalized = first[1]["input"], now[1]["input"], now[1]["normalized"]
    return _(
        "From step {first} to step {now} the mean of the inputs went from {m0:.2f} to {m1:.2f} "
        "and their spread from {s0:.2f} to {s1:.2f}; normalized, the mean is {n:.2f} and the "
        "spread {t:.2f}."
    ).format(
        first=first[0],
        now=now[0],
        m0=earlier.mean(),
        m1=later.mean(),
        s0=np.std(earlier),
        s1=np.std(later),
        n=round(float(normalized.mean()), 2) + 0.0,
        t=np.std(normalized),
    )
