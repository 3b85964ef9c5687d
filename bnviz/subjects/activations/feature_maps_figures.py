"""Feature maps of one image: every channel at three stages, one colour scale."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bnviz.charts.marks import Figure, domains, drawing, heading, in_panel, suffix
from bnviz.charts.theme import STAGE_LABELS, axis, colour, stroke
from bnviz.i18n import _

GAP = 1  # empty pixels between two maps
_MARGIN = {"l": 10, "t": 24, "b": 10}
_BARE = {"showticklabels": False, "showgrid": False, "ticks": ""}
# Colour grows as the square root of the value, so that small ones are seen beside large ones.
_SIGNED = [
    [0.5 + sign * 0.5 * t * t, colour(shade, 0.04 + 0.96 * t)]
    for sign, shade, levels in (
        (-1, "negative", (1, 0.75, 0.5, 0.25, 0.1)),
        (1, "positive", (0.1, 0.25, 0.5, 0.75, 1)),
    )
    for t in levels
]


def columns_of(channels: int) -> int:
    """How many maps stand side by side: 3 of 6, 8 of 16, 20 of 120, 12 of 84."""
    return {6: 3, 16: 8, 120: 20, 84: 12}.get(channels, int(np.ceil(np.sqrt(channels))))


def mosaic(maps: np.ndarray, gap: int = GAP) -> tuple[np.ndarray, np.ndarray]:
    """Maps (C, H, W) side by side in rows: values, and the channel of each pixel.

    Both have the shape (rows * (H + gap) - gap, columns * (W + gap) - gap); where no map is the
    value is NaN and the channel -1.
    """
    channels, height, width = maps.shape
    columns = columns_of(channels)
    rows = -(-channels // columns)
    shape = (rows * (height + gap) - gap, columns * (width + gap) - gap)
    values, owner = np.full(shape, np.nan, np.float32), np.full(shape, -1, np.int16)
    for channel, one in enumerate(maps):
        place = _place(channel, height, width, columns, gap)
        values[place], owner[place] = one, channel
    return values, owner


def _place(channel: int, height: int, width: int, columns: int, gap: int) -> tuple[slice, slice]:
    """Rows and columns of a mosaic in which the map of `channel` lies."""
    top, left = channel // columns * (height + gap), channel % columns * (width + gap)
    return slice(top, top + height), slice(left, left + width)


def feature_maps(stages: Mapping[str, np.ndarray], limit: float, followed: int | None) -> Figure:
    """One panel a stage with the maps (C, H, W) of all channels, all on one scale from -limit to limit.

    A pixel carries its channel, so that a click says which. `followed` is framed.
    """
    layout: dict[str, Any] = {"annotations": [], "shapes": [], "margin": _MARGIN}
    data = []
    down = list(reversed(domains(len(stages), 0.1)))
    for k, ((stage, maps), domain) in enumerate(zip(stages.items(), down, strict=True)):
        gap = GAP if maps.shape[1] > 1 else 0
        name = _(STAGE_LABELS[stage])
        data.append(_heatmap(k, *mosaic(maps, gap), limit, name))
        layout[f"xaxis{suffix(k)}"] = {**_BARE, "anchor": f"y{suffix(k)}"}
        layout[f"yaxis{suffix(k)}"] = {
            **_BARE,
            "anchor": f"x{suffix(k)}",
            "domain": domain,
            "autorange": "reversed",
            "scaleanchor": f"x{suffix(k)}",
            "constrain": "domain",
        }
        layout["annotations"].append(heading(name, 0, domain[1]))
        if followed is not None and followed < len(maps):
            layout["shapes"].append(_frame(k, followed, maps.shape, gap))
    return drawing(data, layout)


def _heatmap(
    panel: int, values: np.ndarray, owner: np.ndarray, limit: float, name: str
) -> dict[str, Any]:
    """A mosaic, with the scale of colours beside the first panel."""
    return {
        "type": "heatmap",
        "z": values,
        "customdata": owner,
        "zmin": -limit,
        "zmax": limit,
        "colorscale": _SIGNED,
        "showscale": panel == 0,
        "colorbar": {**axis("value"), "len": 1, "thickness": 10},
        **in_panel(panel),
        "name": name,
        "hoverongaps": False,
        "hovertemplate": _("channel %{customdata}: %{z:.3g}"),
    }


def _frame(panel: int, channel: int, shape: tuple[int, ...], gap: int) -> dict[str, Any]:
    channels, height, width = shape
    rows, columns = _place(channel, height, width, columns_of(channels), gap)
    return {
        "type": "rect",
        "x0": columns.start - 0.5,
        "x1": columns.stop - 0.5,
        "y0": rows.start - 0.5,
        "y1": rows.stop - 0.5,
        "xref": f"x{suffix(panel)}",
        "yref": f"y{suffix(panel)}",
        "line": stroke("event", width=2.5),
    }
