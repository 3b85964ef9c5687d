"""Momentum x batch size: maps of accuracy and of the running mean's error."""

from typing import Any

import numpy as np
import pandas as pd

from bnviz.charts.applies import bn_figure
from bnviz.charts.card import HEIGHT, Card
from bnviz.charts.marks import HEADED_MARGIN, Figure, drawing, grid, in_panel
from bnviz.charts.task_words import not_measured
from bnviz.charts.theme import QUANTITIES, axis, colour
from bnviz.i18n import N_, _, lines, listed
from bnviz.records.momentum_maps import COMPARED_MOMENTA, best_by_batch_size, growing_best
from bnviz.selection import Selection
from bnviz.training.process import kept_maps
from bnviz.training.run_view import RunView
from bnviz.training.tasks import Key

PARTS = ["batch_size", "momentum", "accuracy"]
TORCHS_MOMENTUM = 0.1


def accuracy_map(frame: pd.DataFrame, variant: str) -> Figure:
    """Accuracy of each batch size with each momentum, the best of each batch size marked.

    `frame`: what `bnviz.subjects.running_stats.momentum_map.momentum_map` returns, maybe of some batch sizes only.
    """
    table = _table(frame, "accuracy")
    best = [f"{float(table.columns[k]):g}" for k in table.to_numpy().argmax(axis=1)]
    marker = {"symbol": "square-open", "size": 34, "color": colour("truth"), "line": {"width": 2}}
    marks = {
        "type": "scatter",
        "x": best,
        "y": [str(b) for b in table.index],
        "mode": "markers",
        "marker": marker,
        "name": _("best of its batch size"),
        "hoverinfo": "skip",
        "showlegend": True,
    }
    layout = {"xaxis": _categories("momentum_tried"), "yaxis": _categories("batch_size")}
    heat = _heatmap(0, 100 * table, "accuracy", variant, None)
    return drawing([heat, marks], layout)


def error_maps(frame: pd.DataFrame) -> Figure:
    """Error of the running mean at the end, and below it the part that is chance, on one scale.

    `frame`: what `bnviz.subjects.running_stats.momentum_map.momentum_map` returns, maybe of some batch sizes only.
    """
    tables = {name: _table(frame, name) for name in ("mean_error", "noise")}
    largest = float(np.nanmax([table.to_numpy().max(initial=0) for table in tables.values()]))
    data = [
        _heatmap(k, table, name, "wrong", largest) for k, (name, table) in enumerate(tables.items())
    ]
    x, y = _categories("momentum_tried"), _categories("batch_size")
    titles = [QUANTITIES[name].axis() for name in tables]
    layout = grid([x, {**x, "matches": "x"}], [y, y], titles, 1)
    return drawing(data, {**layout, "margin": HEADED_MARGIN})


def _categories(quantity: str) -> dict[str, Any]:
    return axis(quantity, type="category", showgrid=False)


def _table(frame: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """One row a batch size, one column a momentum, both ascending."""
    return frame.astype({quantity: float}).pivot(
        index="batch_size", columns="momentum", values=quantity
    )


def _heatmap(
    panel: int, table: pd.DataFrame, quantity: str, shade: str, largest: float | None
) -> dict[str, Any]:
    """Cells with their numbers in them; from the lowest to the highest, or from 0 to `largest`."""
    what, shown = QUANTITIES[quantity], ".1f" if quantity == "accuracy" else ".2f"
    scale = {} if largest is None else {"zmin": 0.0, "zmax": largest}
    cell = f"{what.hovered('z')}<extra></extra>"
    return {
        "type": "heatmap",
        "x": [f"{m:g}" for m in table.columns],
        "y": [str(b) for b in table.index],
        "z": table.to_numpy(np.float32),
        **in_panel(panel),
        "colorscale": [[0, colour(shade, 0.04)], [1, colour(shade, 0.65)]],
        "showscale": False,
        "xgap": 2,
        "ygap": 2,
        "texttemplate": f"%{{z:{shown}}}",
        "textfont": {"color": colour("truth"), "size": 12},
        "name": _(what.label),
        "hovertemplate": lines(_("batch size %{y}"), _("momentum %{x}"), cell),
        **scale,
    }


@bn_figure("running_stats/map", N_("Best momentum by batch size"), needs=("variant", "images"))
def momentum_map_accuracy(run: RunView, chosen: Selection) -> Card:
    """Best momentum by batch size."""
    variant, images, frame = _map_of(run, chosen)
    best = best_by_batch_size(frame)
    momenta = best["momentum"]
    title = (
        _("The larger the batch, the larger the best momentum: {low:g} to {high:g}")
        if growing_best(frame) is not None
        else _("The best momentum by batch size: {low:g} to {high:g}")
    )
    torchs = frame[frame["momentum"] == TORCHS_MOMENTUM]["accuracy"].to_numpy()
    said = _("{m:g} at batch {batch} ({accuracy:.1%})")
    parts = listed(said.format(m=m, batch=int(n), accuracy=a) for n, m, a in best[PARTS].to_numpy())
    return Card(
        key="map",
        title=title.format(low=momenta.min(), high=momenta.max()),
        figure=accuracy_map(frame, variant),
        sentence=_(
            "{label}, {images:,} images at each batch size, eval mode: the best momentum is "
            "{parts}. PyTorch's {torchs:g} costs up to {lost:.1f} points against it."
        ).format(
            label=run.labels[variant], images=images, parts=parts, torchs=TORCHS_MOMENTUM,
            lost=100 * (best["accuracy"].to_numpy() - torchs).max(),
        ),
        alt=_("Accuracy in eval mode by batch size and momentum"),
        height=HEIGHT - 60,
        asked=f"{variant} {images}",
    )  # fmt: skip


@bn_figure(
    "running_stats/map_errors",
    N_("Error of the running mean by momentum and batch size"),
    needs=("variant", "images"),
)
def momentum_map_errors(run: RunView, chosen: Selection) -> Card:
    """Error of the running mean by momentum and batch size."""
    variant, images, frame = _map_of(run, chosen)
    at_lowest = frame[frame["momentum"] == COMPARED_MOMENTA[0]]
    return Card(
        key="map_errors",
        title=(
            _("A small momentum lags, a large one is noisy")
            if (at_lowest["mean_error"] > 2 * at_lowest["noise"]).all()
            else _("How far the running mean is off, and how much of that is noise")
        ),
        figure=error_maps(frame),
        sentence=_errors_sentence(frame),
        alt=_("Error of the running mean and its part by chance, by batch size and momentum"),
        height=HEIGHT - 60,
        asked=f"{variant} {images}",
    )


def _errors_sentence(frame: pd.DataFrame) -> str:
    """Error and noise of the smallest batch at both ends, and the best momentum of two batches."""
    smallest, largest = frame["batch_size"].min(), frame["batch_size"].max()
    nearest = best_by_batch_size(frame, "mean_error", -1)
    shown = nearest[nearest["batch_size"].isin([smallest, largest])]
    low, high = COMPARED_MOMENTA[0], COMPARED_MOMENTA[-1]
    at = frame[frame["batch_size"] == smallest].set_index("momentum")
    said = _("m = {m:g} at batch {batch}")
    return _(
        "At batch {smallest} the running mean is off by {lag:.2g} σ at m = {low:g}, of "
        "which noise is {still:.1g} σ: the rest is lag and the remaining weight of the "
        "initial value. At m = {high:g} it is off by {off:.2g} σ, noise alone {noise:.2g} "
        "σ. Nearest to the population: {nearest}."
    ).format(
        smallest=smallest,
        low=low,
        high=high,
        lag=at.loc[low, "mean_error"],
        still=at.loc[low, "noise"],
        off=at.loc[high, "mean_error"],
        noise=at.loc[high, "noise"],
        nearest=listed(said.format(m=m, batch=int(n)) for n, m, _a in shown[PARTS].to_numpy()),
    )


def _map_of(run: RunView, chosen: Selection) -> tuple[str, int, pd.DataFrame]:
    """Variant, images and the map as far as it is there. Raises NotReady before its first row."""
    variant = run.settled(chosen).variant
    frame, _note = kept_maps().load(run.id, run.source.folder, variant, chosen.images)
    if not len(frame):
        raise not_measured(map_key(run, variant, chosen.images))
    return variant, chosen.images, frame


def map_key(run: RunView, variant: str, images: int) -> Key:
    """Its place among the measurements of the process."""
    return (run.id, "map", variant, str(images))
