"""Momentum x batch size: maps of accuracy and of the running mean's error."""

from typing import Any

import numpy as np
import pandas as pd

from bnviz.charts.applies import needs_bn
from bnviz.charts.card import HEIGHT, Card
from bnviz.charts.marks import Figure, drawing, grid, suffix
from bnviz.charts.registry import figure
from bnviz.charts.task_words import not_measured
from bnviz.charts.theme import QUANTITIES, axis, colour
from bnviz.i18n import N_, _, lines, listed
from bnviz.records.momentum_maps import COMPARED_MOMENTA, best_by_batch_size, growing_best
from bnviz.selection import Selection
from bnviz.training.process import kept_maps
from bnviz.training.run_view import RunView
from bnviz.training.tasks import Key


def accuracy_map(frame: pd.DataFrame, variant: str) -> Figure:
    """Accuracy of each batch size with each momentum, the best of each batch size marked.

    `frame`: what `bnviz.subjects.running_stats.momentum_map.momentum_map` returns, maybe of some batch sizes only.
    """
    table = _table(frame, "accuracy")
    best = [str(table.columns[k]) for k in table.to_numpy().argmax(axis=1)] if len(table) else []
    best = [f"{float(m):g}" for m in best]
    marks = {
        "type": "scatter",
        "x": best,
        "y": [str(b) for b in table.index],
        "mode": "markers",
        "marker": {
            "symbol": "square-open",
            "size": 34,
            "color": colour("truth"),
            "line": {"width": 2},
        },
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
    return drawing(data, {**layout, "margin": {"l": 48, "r": 10, "t": 26, "b": 40}})


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
    return {
        "type": "heatmap",
        "x": [f"{m:g}" for m in table.columns],
        "y": [str(b) for b in table.index],
        "z": table.to_numpy(np.float32),
        "xaxis": f"x{suffix(panel)}",
        "yaxis": f"y{suffix(panel)}",
        "colorscale": [[0, colour(shade, 0.04)], [1, colour(shade, 0.65)]],
        "showscale": False,
        "xgap": 2,
        "ygap": 2,
        "texttemplate": f"%{{z:{shown}}}",
        "textfont": {"color": colour("truth"), "size": 12},
        "name": _(what.label),
        "hovertemplate": lines(
            _("batch size %{y}"),
            _("momentum %{x}"),
            f"{_(what.label)} %{{z:{what.format}}}{what.after()}<extra></extra>",
        ),
        **scale,
    }


@figure(
    "running_stats/map",
    N_("Best momentum by batch size"),
    needs=("variant", "images"),
    applies=needs_bn,
)
def momentum_map_accuracy(run: RunView, chosen: Selection) -> Card:
    """Best momentum by batch size."""
    variant, images, frame = _map_of(run, chosen)
    best = best_by_batch_size(frame)
    parts = [
        _("{m:g} at batch {batch} ({accuracy:.1%})").format(
            m=row["momentum"], batch=int(row["batch_size"]), accuracy=row["accuracy"]
        )
        for _index, row in best.iterrows()
    ]
    own = frame[frame["momentum"] == 0.1]
    lost = 100 * (best["accuracy"].to_numpy() - own["accuracy"].to_numpy())
    title = (
        _("The larger the batch, the larger the best momentum: {low:g} to {high:g}")
        if growing_best(frame) is not None
        else _("The best momentum by batch size: {low:g} to {high:g}")
    )
    return Card(
        key="map",
        title=title.format(low=best["momentum"].min(), high=best["momentum"].max()),
        figure=accuracy_map(frame, variant),
        sentence=_(
            "{label}, {images:,} images at each batch size, eval mode: the best momentum is "
            "{parts}. PyTorch's 0.1 costs up to {lost:.1f} points against it."
        ).format(label=run.labels[variant], images=images, parts=listed(parts), lost=lost.max()),
        alt=_("Accuracy in eval mode by batch size and momentum"),
        height=HEIGHT - 60,
        asked=f"{variant} {images}",
    )


@figure(
    "running_stats/map_errors",
    N_("Error of the running mean by momentum and batch size"),
    needs=("variant", "images"),
    applies=needs_bn,
)
def momentum_map_errors(run: RunView, chosen: Selection) -> Card:
    """Error of the running mean by momentum and batch size."""
    variant, images, frame = _map_of(run, chosen)
    nearest = best_by_batch_size(frame, "mean_error", -1)
    smallest, largest = frame["batch_size"].min(), frame["batch_size"].max()
    low, high = COMPARED_MOMENTA[0], COMPARED_MOMENTA[-1]
    at = frame.set_index(["batch_size", "momentum"])
    lags = at["mean_error"].xs(low, level="momentum") > 2 * at["noise"].xs(low, level="momentum")
    return Card(
        key="map_errors",
        title=(
            _("A small momentum lags, a large one is noisy")
            if lags.all()
            else _("How far the running mean is off, and how much of that is noise")
        ),
        figure=error_maps(frame),
        sentence=_(
            "At batch {smallest} the running mean is off by {lag:.2g} σ at m = {low:g}, of "
            "which noise is {still:.1g} σ: the rest is lag and the remaining weight of the "
            "initial value. At m = {high:g} it is off by {off:.2g} σ, noise alone {noise:.2g} "
            "σ. Nearest to the population: {nearest}."
        ).format(
            smallest=smallest,
            low=low,
            high=high,
            lag=at.loc[(smallest, low), "mean_error"],
            still=at.loc[(smallest, low), "noise"],
            off=at.loc[(smallest, high), "mean_error"],
            noise=at.loc[(smallest, high), "noise"],
            nearest=listed(
                _("m = {m:g} at batch {batch}").format(
                    m=row["momentum"], batch=int(row["batch_size"])
                )
                for _index, row in nearest[
                    nearest["batch_size"].isin([smallest, largest])
                ].iterrows()
            ),
        ),
        alt=_("Error of the running mean and its part by chance, by batch size and momentum"),
        height=HEIGHT - 60,
        asked=f"{variant} {images}",
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
