"""Cells with their numbers in them: which share a mean, what each step makes of them, what flows back.

Cells are (N, C) or (N, C, H, W). A figure shows one line for each sample and height, one column for
each channel and width; where that would be more columns than a phone can show, further channels
stand in a second panel below.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bnviz.charts.marks import (
    HEADED_MARGIN,
    Figure,
    domains,
    drawing,
    heading,
    in_panel,
    step_mark,
    suffix,
)
from bnviz.charts.theme import GROUP_COLOURS, axis, colour, hover, stroke
from bnviz.i18n import _

MOST_COLUMNS = 8
LINE_PX = 24  # of a cell's height
FEWEST_LINES = 4  # so that the title of the axis has room
AROUND_PX = 62  # axes and their titles, once a panel
HEADING_PX = 22
NAMES_PX = 50
STRENGTHS = (0.32, 0.14, 0.44, 0.22)
TEXT_PX = 11
POWERS = {"type": "log", "exponentformat": "power"}
_SIGNED = [
    [0, colour("negative", 0.7)],
    [0.5, colour("batch", 0.04)],
    [1, colour("positive", 0.7)],
]


def number(value: float) -> str:
    """`value` in at most six signs: ``-0.12``, ``0.034``, ``12.3``, ``1e4``, ``-2e-5``."""
    size = abs(value)
    if size < 1e-12:
        return "0"
    if size >= 9999.5 or size < 0.0095:
        digits, power = f"{value:.0e}".split("e")
        return f"{digits}e{int(power)}"
    places = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.095 else 3
    short = f"{value:.{places}f}"
    return f"{value:.9g}" if float(short) == value else short


def column_names(shape: Sequence[int]) -> list[str]:
    """What stands over each column of `table`."""
    if len(shape) == 2:
        return [_("feature {c}").format(c=c) for c in range(shape[1])]
    _samples, channels, _height, width = shape
    return [f"c{c} w{w}" for c in range(channels) for w in range(width)]


def row_names(shape: Sequence[int]) -> list[str]:
    """What stands beside each row of `table`."""
    if len(shape) == 2:
        return [_("sample {n}").format(n=n) for n in range(shape[0])]
    samples, _channels, height, _width = shape
    return [f"n{n} h{h}" for n in range(samples) for h in range(height)]


def table(cells: np.ndarray) -> np.ndarray:
    """Cells (N, C) or (N, C, H, W) as (N * H, C * W): rows of samples, columns of channels."""
    n, c, h, w = (*cells.shape, 1, 1)[:4]
    return cells.reshape(n, c, h, w).transpose(0, 2, 1, 3).reshape(n * h, c * w)


def bands(shape: Sequence[int]) -> list[slice]:
    """The columns of `table` panel by panel: whole channels, at most MOST_COLUMNS if they fit."""
    _samples, channels, _height, width = (*shape, 1, 1)[:4]
    step = max(MOST_COLUMNS // width, 1) * width
    return [
        slice(start, min(start + step, channels * width))
        for start in range(0, channels * width, step)
    ]


def height_of(shape: Sequence[int], panels: int = 1) -> int:
    """Pixels that a figure of such cells needs."""
    return _inner_height(shape, panels) + AROUND_PX + HEADING_PX * (panels > 1)


def _inner_height(shape: Sequence[int], panels: int) -> int:
    """Pixels from the first cell of the first panel to the last of the last."""
    rows = max(shape[0] * (*shape, 1, 1)[2], FEWEST_LINES)
    count = panels * len(bands(shape))
    return count * rows * LINE_PX + (count - 1) * _between(shape)


def _between(shape: Sequence[int]) -> int:
    """Pixels between panels: names of the columns where they differ, else the next heading."""
    return NAMES_PX if len(bands(shape)) > 1 else HEADING_PX + 4


def shared_means(values: np.ndarray, shared: np.ndarray, name: str) -> Figure:
    """The numbers of cells, in one colour where they share a mean and with a line where another begins.

    `shared` holds the number of its group for each cell, in the shape of the cells.
    """
    numbers, owners = table(values), table(shared)
    hues = owners % (GROUP_COLOURS * len(STRENGTHS))
    data, shapes = [], []
    for panel, part in enumerate(bands(values.shape)):
        for hue in np.unique(hues[:, part]):
            own = hues[:, part] == hue
            data.append(
                {
                    **_heat(panel, numbers[:, part], own, values.shape, part, name),
                    "customdata": owners[:, part].tolist(),
                    "colorscale": _plain(int(hue)),
                    "hovertemplate": _("%{y}, %{x}: %{z:.6g}<br>shares mean %{customdata}"),
                }
            )
        shapes.append(_borders(panel, owners[:, part]))
    return drawing(data, {**_layout(values.shape, [""]), "shapes": shapes})


def channel_numbers(rows: Mapping[str, np.ndarray], ndim: int) -> Figure:
    """One number a channel, one row for each of `rows` (name to values (C,)), in the channels' colours."""
    values = np.array(list(rows.values()))
    what, name = ("feature", _("feature {c}")) if ndim == 2 else ("channel", _("channel {c}"))
    columns = [name.format(c=c) for c in range(values.shape[1])]
    data = [
        {
            **_numbers(values, np.arange(len(columns)) == c),
            "x": columns,
            "y": list(rows),
            "colorscale": _plain(c),
            "name": column,
            "hovertemplate": "%{y}, %{x}: %{z:.6g}<extra></extra>",
        }
        for c, column in enumerate(columns)
    ]
    y = {**_categories("parameter"), "autorange": "reversed"}
    return drawing(data, {"xaxis": _categories(what), "yaxis": y})


def signed(parts: Mapping[str, np.ndarray]) -> Figure:
    """Panels of cells above each other, one for each of `parts` (heading to cells), on one scale around 0.

    The sign is a colour, orange below 0 and blue above it, and the size its strength.
    """
    shape = next(iter(parts.values())).shape
    largest = max(float(np.abs(values).max()) for values in parts.values()) or 1.0
    data = []
    columns = bands(shape)
    for k, (name, values) in enumerate(parts.items()):
        for j, part in enumerate(columns):
            whole = np.ones_like(table(values)[:, part], bool)
            data.append(
                {
                    **_heat(k * len(columns) + j, table(values)[:, part], whole, shape, part, name),
                    "colorscale": _SIGNED,
                    "zmin": -largest,
                    "zmax": largest,
                    "hovertemplate": "%{y}, %{x}: %{z:.6g}",
                }
            )
    return drawing(data, _layout(shape, list(parts)))


def change_over_scale(
    scales: np.ndarray, measured: np.ndarray, predicted: np.ndarray, chosen: float
) -> Figure:
    """How far BN's output moves when the weights before it are multiplied: measured, and by eps alone.

    All of shape (scales,); `chosen` is the chosen scale.
    """
    x, shown = scales.tolist(), ("weight_scale", "output_change")
    line = {"mode": "lines", "line": stroke("event", "dash")}
    marks = {"mode": "markers", "marker": {"color": colour("truth"), "size": 8}}
    data = [
        _above_zero(x, predicted, shown, name=_("predicted from eps"), **line),
        _above_zero(x, measured, shown, name=_("measured in train mode"), **marks),
    ]
    scales_of = {
        "xaxis": axis("weight_scale", **POWERS, dtick=1),
        "yaxis": axis("output_change", **POWERS),
    }
    return drawing(data, {**scales_of, "shapes": step_mark(0, chosen)})


def _above_zero(
    x: list[Any], values: np.ndarray, quantities: tuple[str, str], **style: Any
) -> dict[str, Any]:
    """A trace on a logarithmic axis, which has no place for 0."""
    y = [float(v) if v > 0 else None for v in values]
    return {"type": "scatter", "x": x, "y": y, "hovertemplate": hover(*quantities), **style}


def weight_and_bias_gradients(
    layers: Sequence[str], weights: np.ndarray, biases: np.ndarray
) -> Figure:
    """Sizes of the gradients of weights and bias, layer by layer, on a logarithmic scale."""
    parts = (
        (_("of the weights"), weights, "measured", "circle"),
        (_("of the bias"), biases, "event", "diamond"),
    )
    data = []
    for name, values, shade, symbol in parts:
        marker = {"color": colour(shade), "size": 12, "symbol": symbol}
        looks = {"mode": "markers", "marker": marker, "name": name}
        data.append(_above_zero(list(layers), values, ("weight_layer", "gradient_rms"), **looks))
    x = axis("weight_layer", type="category")
    return drawing(data, {"xaxis": x, "yaxis": axis("gradient_rms", **POWERS, dtick=2)})


def _plain(group: int) -> list[list[Any]]:
    """One colour for a group, as a scale."""
    hue, strength = group % GROUP_COLOURS, STRENGTHS[group // GROUP_COLOURS % len(STRENGTHS)]
    return [[0, colour(f"group{hue}", strength)], [1, colour(f"group{hue}", strength)]]


def _numbers(values: np.ndarray, own: np.ndarray) -> dict[str, Any]:
    """A heatmap of some of the cells. Lists and not arrays, whose numbers travel rounded."""
    own = np.broadcast_to(own, values.shape)

    def listed(one: Any, other: Any) -> list[list[Any]]:
        return [
            [one(float(v)) if here else other for v, here in zip(row, mine, strict=True)]
            for row, mine in zip(values, own, strict=True)
        ]

    return {
        "type": "heatmap",
        "z": listed(lambda v: float(f"{v:.7g}"), None),
        "text": listed(number, ""),
        "texttemplate": "%{text}",
        "textfont": {"color": colour("truth"), "size": TEXT_PX},
        "showscale": False,
        "hoverongaps": False,
        "xgap": 2,
        "ygap": 2,
    }


def _heat(
    panel: int, values: np.ndarray, own: np.ndarray, shape: Sequence[int], part: slice, name: str
) -> dict[str, Any]:
    """Some cells of one panel, with the names of their rows and columns."""
    return {
        **_numbers(values, own),
        "x": column_names(shape)[part],
        "y": row_names(shape),
        **in_panel(panel),
        "name": name,
    }


def _categories(quantity: str) -> dict[str, Any]:
    return axis(quantity, type="category", showgrid=False, ticks="")


def _layout(shape: Sequence[int], titles: Sequence[str]) -> dict[str, Any]:
    """Panels above each other: all bands of the first title, then of the next."""
    flat = len(shape) == 2
    x = _categories("feature" if flat else "cell_column")
    y = {**_categories("sample" if flat else "cell_row"), "autorange": "reversed"}
    parts = len(bands(shape))
    count = len(titles) * parts
    layout: dict[str, Any] = {"annotations": []}
    if titles[0]:
        layout["margin"] = {**HEADED_MARGIN, "t": HEADING_PX}
    gap = _between(shape) / _inner_height(shape, len(titles))
    for k, domain in enumerate(reversed(domains(count, gap))):
        last = k == count - 1
        shown = {} if last else {"title": {"text": ""}, "showticklabels": parts > 1}
        layout[f"xaxis{suffix(k)}"] = {**x, **shown, "anchor": f"y{suffix(k)}"}
        layout[f"yaxis{suffix(k)}"] = {**y, "domain": domain, "anchor": f"x{suffix(k)}"}
        title = titles[k // parts]
        if title and k % parts == 0:
            layout["annotations"].append(heading(title, 0, domain[1]))
    return layout


def _borders(panel: int, owners: np.ndarray) -> dict[str, Any]:
    """A line wherever neighbouring cells belong to different groups, as one shape."""
    path = ""
    for row, column in np.argwhere(owners[:, 1:] != owners[:, :-1]):
        path += f"M{column + 0.5},{row - 0.5}V{row + 0.5}"
    for row, column in np.argwhere(owners[1:] != owners[:-1]):
        path += f"M{column - 0.5},{row + 0.5}H{column + 0.5}"
    return {
        "type": "path",
        "path": path or "M0,0",
        "xref": f"x{suffix(panel)}",
        "yref": f"y{suffix(panel)}",
        "line": stroke("truth", width=1.5, opacity=0.75),
    }
