"""The channels of one layer: small multiples, and weight and bias at work."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bnviz.charts.histogram import ends, outline
from bnviz.charts.marks import Figure, dots, drawing, grid, one_entry, stacked
from bnviz.charts.theme import axis, colour, hover, stroke
from bnviz.i18n import _, lines

COLUMNS = 4
# Open and full marks: right layers lie on top of each other, and both must be seen.
SYMBOLS = {
    "note": "x-thin-open",
    "composite": "diamond-open",
    "fused": "square-open",
    "builtin": "circle",
    "none": "cross",
}


def small_multiples(
    before: np.ndarray,
    after: np.ndarray | None,
    edges: np.ndarray,
    variant: str,
    followed: int | None,
) -> Figure:
    """One small panel a channel, all on the same bins: what enters BN and what leaves it.

    `before` and `after` are shares (0 to 1) of shape (channels, bins), `edges` (bins + 1,). A point
    of a panel carries its channel, so that a click says which. `followed` is the chosen channel.
    """
    data = _shares(before, edges, _("before BN"), "batch", "dot")
    if after is not None:
        data += _shares(after, edges, _("after BN"), variant, "solid")
    channels, first_of_last_row = range(len(before)), (len(before) - 1) // COLUMNS * COLUMNS
    xs = [
        {
            **(axis("value") if channel >= first_of_last_row else {"showticklabels": False}),
            "range": ends(edges),
            "zeroline": True,
        }
        for channel in channels
    ]
    ys = [
        {
            **(axis("density") if channel == 0 else {"matches": "y"}),
            "rangemode": "tozero",
            "showticklabels": channel % COLUMNS == 0,
        }
        for channel in channels
    ]
    titles = [f"<b>{c} ◂</b>" if c == followed else str(c) for c in channels]
    rows = -(-len(before) // COLUMNS)
    panels = grid(xs, ys, titles, COLUMNS, (0.04, 0.28 / rows))
    return drawing(data, {**panels, "hovermode": "x"}, legend_y=1.06)


def _shares(
    shares: np.ndarray, edges: np.ndarray, name: str, shade: str, dash: str
) -> list[dict[str, Any]]:
    said = _("channel {channel}")
    return [
        outline(
            channel,
            edges,
            of_channel,
            line=stroke(shade, dash, 1.8),
            fill="tozeroy" if dash == "solid" else "none",
            fillcolor=colour(shade, 0.15),
            meta=channel,
            hovertemplate=lines(said.format(channel=channel), hover("value", "density")),
            **one_entry(name, dash, shown=channel == 0),
        )
        for channel, of_channel in enumerate(shares)
    ]


def weight_and_bias(
    affine: Mapping[str, tuple[np.ndarray, np.ndarray]],
    labels: Mapping[str, str],
    followed: int | None,
) -> Figure:
    """Weight above, bias below, a mark a channel for each variant.

    `affine`: per variant weight and bias (channels,).
    """
    data = []
    for panel, quantity in enumerate(("bn_weight", "bn_bias")):
        for variant, both in affine.items():
            channels = np.arange(len(both[panel]))
            marker = {
                "color": colour(variant, 0.85),
                "symbol": SYMBOLS[variant],
                "size": [14 if c == followed else 7 for c in channels],
            }
            entry = one_entry(labels[variant], variant, shown=panel == 0)
            told = {"customdata": channels.tolist(), **entry}
            data.append(dots(panel, channels, both[panel], ("channel", quantity), marker, **told))
    layout = stacked([axis("bn_weight"), axis("bn_bias", zeroline=True)], axis("channel"))
    return drawing(data, layout)
