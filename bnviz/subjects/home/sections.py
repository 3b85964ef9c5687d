"""The controls and the card of Home, made from the recorded run."""

import numpy as np
import streamlit as st

from bnviz.app.runs import RunView
from bnviz.charts.card import Card
from bnviz.charts.histogram import bin_edges
from bnviz.i18n import _
from bnviz.records.reading import density, stage_quantiles, stage_range
from bnviz.records.schema import LAYERS, stages_table
from bnviz.subjects.home.before_after_figures import before_after

VARIANT = "builtin"


def layer_control() -> str:
    """Which BN layer the figure shows."""
    return st.segmented_control(
        _("BN layer"), list(LAYERS), default="fc1", required=True, key="home_layer",
        bind="query-params", help=_("From the first convolution to the last hidden layer."),
    )  # fmt: skip


def step_slider(run: RunView) -> int:
    """Which probe of the recorded run the figure shows."""
    steps = run.history[stages_table(VARIANT)].column("step").tolist()
    return st.select_slider(
        _("Training step: move me"), steps, value=steps[-1], key="home_step",
        bind="query-params", width=420,
        help=_("Move it and watch the left side wander while the right side stays."),
    )  # fmt: skip


def card(run: RunView, layer: str, step: int) -> Card:
    """Before and after BN at `step`, with the first probe behind."""
    steps = run.history[stages_table(VARIANT)].column("step")
    now, first = (
        stage_quantiles(run.config, run.history, VARIANT, layer, s) for s in (step, int(steps[0]))
    )
    assert now is not None and first is not None
    sides = []
    for stage in ("input", "normalized"):
        edges = bin_edges(*stage_range(run.config, run.history, layer, stage))
        sides.append((edges, density(first[1][stage], edges), density(now[1][stage], edges)))
    means = {k: (first[1][k].mean(), now[1][k].mean()) for k in ("input", "normalized")}
    spread = {k: (np.std(first[1][k]), np.std(now[1][k])) for k in ("input", "normalized")}
    return Card(
        key="before_after",
        title=_("Before BN the values wander, after normalizing they stay: {layer}").format(
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
