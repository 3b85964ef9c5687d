"""The figure of Home: a layer's input before BN and after normalizing, at one step."""

import numpy as np

from bnviz.charts.card import Card
from bnviz.charts.histogram import bin_edges, outline
from bnviz.charts.marks import Figure, drawing, grid
from bnviz.charts.registry import NotReady, figure
from bnviz.charts.theme import axis, colour
from bnviz.i18n import N_, _
from bnviz.records.reading import density, stage_quantiles, stage_range
from bnviz.records.schema import stages_table
from bnviz.selection import Selection
from bnviz.training.run_view import RunView

Side = tuple[np.ndarray, np.ndarray, np.ndarray]


def before_after(before: Side, after: Side) -> Figure:
    """Two panels: before BN, after normalizing.

    Each side is bin edges, shares (0 to 1) at the first probe, and shares at the chosen step.
    """
    data, xs, ys = [], [], []
    for k, (edges, first, now) in enumerate((before, after)):
        data += [
            outline(
                k,
                edges,
                first,
                line={"color": colour("batch"), "dash": "dot", "width": 1.5},
                name=_("first probe"),
                legendgroup="first",
                showlegend=k == 0,
            ),
            outline(
                k,
                edges,
                now,
                line={"color": colour("builtin"), "width": 2},
                fill="tozeroy",
                fillcolor=colour("builtin", 0.2),
                name=_("chosen step"),
                legendgroup="now",
                showlegend=k == 0,
            ),
        ]
        xs.append(axis("value", range=[float(edges[0]), float(edges[-1])]))
        ys.append({**(axis("density") if k == 0 else {}), "rangemode": "tozero"})
    panels = grid(xs, ys, [_("before BN"), _("after normalizing")], 2)
    return drawing(data, panels, legend_y=1.12)


VARIANT = "builtin"


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
        raise NotReady(
            "waiting",
            _("The first probe comes after {every} steps.").format(every=run.config.stages_every),
        )
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
    means = {k: (first[1][k].mean(), now[1][k].mean()) for k in ("input", "normalized")}
    spread = {k: (np.std(first[1][k]), np.std(now[1][k])) for k in ("input", "normalized")}
    return Card(
        key="before_after",
        title=_("Before BN the values drift, after normalizing they do not: {layer}").format(
            layer=layer
        ),
        figure=before_after(*sides),
        sentence=_(
            "From step {first} to step {now} the mean of the inputs went from {m0:.2f} to {m1:.2f} "
            "and their spread from {s0:.2f} to {s1:.2f}; normalized, the mean is {n:.2f} and the "
            "spread {t:.2f}."
        ).format(
            first=first[0],
            now=now[0],
            m0=means["input"][0],
            m1=means["input"][1],
            s0=spread["input"][0],
            s1=spread["input"][1],
            n=round(float(means["normalized"][1]), 2) + 0.0,
            t=spread["normalized"][1],
        ),
        alt=_("Histogram of a layer's inputs before BN and after normalizing"),
        height=340,
    )
