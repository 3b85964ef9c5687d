"""The autograd graph behind a running statistic, a row a layer."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bnviz.charts.card import Card
from bnviz.charts.formatting import size_words
from bnviz.charts.marks import Figure, drawing
from bnviz.charts.registry import NotReady, figure
from bnviz.charts.theme import axis, colour, stroke
from bnviz.i18n import N_, _
from bnviz.selection import Selection
from bnviz.subjects.memory.experiment_figures import moment_of_experiment
from bnviz.subjects.memory.experiment_runner import lab
from bnviz.subjects.memory.memory_experiment_figures import bytes_by_batch
from bnviz.training.run_view import RunView
from bnviz.units import KIB

if TYPE_CHECKING:
    from bnviz.census.chain import Chain
    from bnviz.subjects.memory.memory_experiment import Experiment

HEIGHT = 620
LARGEST_PX = 26
SMALLEST_PX = 7
LIFT = 0.16
"""Every second node of a row stands so much higher, that lines past a node can be seen."""
SHOWN_BATCHES = 120
HOLDING = 1000
"""Bytes from which on a batch is said to hold its activations; a training step leaves 128."""
EARLIER = N_("the same statistic, one batch earlier")
NAMED_KIB = 20
"""Nodes that saved more than this are named in the figure; the others on hover."""


def graph_behind(
    nodes: pd.DataFrame, edges: pd.DataFrame, older: Sequence[int], rows: Sequence[str], root: str
) -> Figure:
    """`nodes`: number, operation, layer, bytes, saved; `edges`: node, input (numbers of nodes).

    Marks are as large as the bytes that the node was the first to save. `older` are the nodes that
    lead to the batch before, `rows` the layers from above, `root` what the last node is called.
    """
    placed = _placed(nodes, rows)
    data = [_lines(placed, edges), _marks(placed, root)]
    if len(older):
        data.append(_before(placed, older))
    layout = {
        "xaxis": axis("chain_place", showticklabels=False, zeroline=False, showgrid=False),
        "yaxis": axis(
            "chain_layer", tickmode="array", tickvals=list(range(len(rows))), ticktext=list(rows),
            autorange="reversed", zeroline=False,
        ),
    }  # fmt: skip
    return drawing(data, layout)


def _placed(nodes: pd.DataFrame, rows: Sequence[str]) -> pd.DataFrame:
    """The nodes by number, with a place in their row (x) and the row of their layer (y)."""
    order = {name: number for number, name in enumerate(rows)}
    place = nodes.groupby("layer").cumcount()
    return nodes.assign(
        x=place, y=nodes["layer"].map(order).astype(float) - LIFT * (place % 2)
    ).set_index("number")  # fmt: skip


def _lines(placed: pd.DataFrame, edges: pd.DataFrame) -> dict[str, Any]:
    """All edges as one trace; None lifts the pen."""
    ends = [placed.loc[edges[end], ["x", "y"]].to_numpy(float) for end in ("node", "input")]
    gaps = np.full((len(edges), 2), np.nan)
    points = np.stack([*ends, gaps], 1).reshape(-1, 2) if len(edges) else np.empty((0, 2))
    return {
        "type": "scatter", "x": points[:, 0], "y": points[:, 1], "mode": "lines",
        "line": stroke("batch", width=1.2, opacity=0.7), "hoverinfo": "skip",
        "name": _("computed from"), "connectgaps": False,
    }  # fmt: skip


def _marks(placed: pd.DataFrame, root: str) -> dict[str, Any]:
    size = placed["bytes"].to_numpy(float)
    last, named = len(placed) - 1, NAMED_KIB * KIB
    sizes = SMALLEST_PX + (LARGEST_PX - SMALLEST_PX) * np.sqrt(
        size / max(size.max(initial=0), named)
    )
    shades = [colour("note" if value else "batch") for value in size]
    text = [f"{value / KIB:,.0f} KiB" if value > named else "" for value in size]
    symbols = ["circle"] * len(placed)
    if len(placed):
        sizes[last], shades[last], text[last] = LARGEST_PX / 2, colour("event"), root
        symbols[last] = "diamond"
    return {
        "type": "scatter", "x": placed["x"].to_numpy(float), "y": placed["y"].to_numpy(float),
        "mode": "markers+text", "text": text,
        "textposition": [_beside(place) for place in placed["x"]],
        "marker": {"size": sizes, "color": shades, "symbol": symbols},
        "customdata": [_node_words(row) for row in placed.itertuples()],
        "hovertemplate": "%{customdata}<extra></extra>",
        "name": _("node, as large as what it saved"),
    }  # fmt: skip


def _node_words(row: Any) -> str:
    """Operation, layer, bytes and what a node has saved, for a hover."""
    return _("{operation} in {layer}, {size:,} bytes<br>saved: {saved}").format(
        operation=row.operation, layer=row.layer, size=row.bytes,
        saved=str(row.saved).replace("; ", "<br>") or _("nothing"),
    )  # fmt: skip


def _beside(place: int) -> str:
    """Where a node's words stand: the first of a row has lines above and below."""
    if place == 0:
        return "bottom right"
    return "top center" if place % 2 else "bottom center"


def _before(placed: pd.DataFrame, older: Sequence[int]) -> dict[str, Any]:
    """Where the chain goes on: the same statistic after the batch before."""
    at = placed.loc[[number for number in older if number in placed.index]]
    x, gap = at["x"].to_numpy(float), np.full(len(at), np.nan)
    return {
        "type": "scatter", "x": np.stack([x, x - 0.55, gap], 1).ravel(), "connectgaps": False,
        "y": np.repeat(at["y"].to_numpy(float), 3), "line": stroke("wrong", width=1.2),
        "mode": "lines+markers", "marker": {"size": [0, 13, 0] * len(at), "symbol": "triangle-left",
                                            "color": colour("wrong"), "opacity": 1},
        "name": _("to the batch before"), "hovertemplate": f"{_(EARLIER)}<extra></extra>",
    }  # fmt: skip


def chain_card(found: "Chain", layer: str, statistic: str, batch: int | None) -> Card:
    """The graph behind a statistic, of a batch or of shapes alone."""
    from bnviz.subjects.memory.expectation import layer_names

    rows = layer_names()
    used = [rows[name] for name in rows if name in set(found.nodes["layer"])]
    nodes = found.nodes.assign(layer=found.nodes["layer"].map(rows))
    return Card(
        key="chain",
        title=_("What {statistic} of {layer} keeps alive").format(statistic=statistic, layer=layer),
        figure=graph_behind(nodes, found.edges, found.older, used, statistic),
        sentence=_chain_sentence(nodes, layer, statistic, batch),
        alt=_("The autograd graph from a running statistic to what the operations saved"),
        height=HEIGHT,
        asked=f"{layer} {statistic} {batch}",
        wide=True,
    )


def _chain_sentence(nodes: pd.DataFrame, layer: str, statistic: str, batch: int | None) -> str:
    """How much a chain keeps of a batch, and where most of it is; None for a batch of shapes."""
    fields = {"statistic": statistic, "layer": layer, "batch": batch}
    if not len(nodes):
        said = (
            _("Nothing of a test batch is kept alive by {statistic} of {layer}.")
            if batch is None
            else _("Nothing of batch {batch} of the chain is kept alive by {statistic} of {layer}.")
        )
        return said.format(**fields)
    most = nodes.iloc[int(nodes["bytes"].to_numpy().argmax())]
    said = (
        _(
            "From {statistic} of {layer} (diamond) {n} nodes of a test batch are reached, and "
            "the {held} that they saved; the largest is {operation} in {at}, {size}. The "
            "triangle leads on to the same statistic one batch before."
        )
        if batch is None
        else _(
            "From {statistic} of {layer} (diamond) {n} nodes of batch {batch} of the chain are "
            "reached, and the {held} that they saved; the largest is {operation} in {at}, "
            "{size}. The triangle leads on to the same statistic one batch before."
        )
    )
    return said.format(
        **fields, n=len(nodes), held=size_words(int(nodes["bytes"].sum())),
        operation=most["operation"], at=most["layer"], size=size_words(int(most["bytes"])),
    )  # fmt: skip


def batches_card(batches: pd.DataFrame, chosen: int) -> Card:
    """The newest batches of a chain, the chosen one marked."""
    newest = batches.tail(SHOWN_BATCHES)
    total, holding = int(batches["bytes"].sum()), int((batches["bytes"] > HOLDING).sum())
    return Card(
        key="chain_batches",
        title=(
            _("What each batch of the chain keeps: click one to open it above") if holding
            else _("What each batch left: no activations are kept alive")
        ),
        figure=bytes_by_batch(newest, chosen),
        sentence=_(
            "{n:,} batches are alive, {holding:,} of them with their activations, {total} in "
            "all; the figure shows the latest {shown:,}. The smallest of them keeps {least:,} "
            "bytes."
        ).format(
            least=int(newest["bytes"].min()), n=len(batches), holding=holding,
            total=size_words(total), shown=len(newest),
        ),
        alt=_("Bytes that each batch of the chain keeps"),
        height=240,
        asked=str(chosen),
        pickable=True,
        wide=True,
    )  # fmt: skip


def chosen_batch(batches: pd.DataFrame, start: int | None) -> int:
    """The batch whose first node is `start`, else the newest that holds something."""
    places = batches["batch"][batches["start"] == start]
    if len(places):
        return int(places.iloc[0])
    holding = batches["batch"][batches["bytes"] > HOLDING]
    return int(holding.iloc[-1]) if len(holding) else len(batches) - 1


def living_batches() -> "tuple[Experiment, pd.DataFrame]":
    """The experiment that goes on and the batches of its chain. Raises NotReady where none is alive."""
    shown = lab().experiment
    batches = pd.DataFrame() if shown is None else shown.chain_batches()
    if shown is None or batches.empty or not lab().going_on:
        raise NotReady("asked", _("No chain is alive now."))
    return shown, batches


@figure(
    "memory/chain",
    N_("What a running statistic keeps alive"),
    needs=("layer", "statistic", "batch"),
    moment=moment_of_experiment,
)
def chain(_run: RunView, chosen: Selection) -> Card:
    """The graph from a running statistic to what a past batch of the experiment has saved."""
    shown, batches = living_batches()
    batch = chosen_batch(batches, chosen.batch)
    found = shown.chain(chosen.layer, chosen.statistic, batch)
    return chain_card(found, chosen.layer, chosen.statistic, batch)


@figure(
    "memory/chain_batches",
    N_("What each batch of the chain keeps"),
    needs=("batch",),
    moment=moment_of_experiment,
)
def chain_batches(_run: RunView, chosen: Selection) -> Card:
    """The newest batches of the chain, each with the bytes that it keeps."""
    _shown, batches = living_batches()
    return batches_card(batches, chosen_batch(batches, chosen.batch))
