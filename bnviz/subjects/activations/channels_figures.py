"""The channels of one layer: small multiples, and weight and bias at work."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bnviz.charts.marks import Figure, drawing, grid, scatter, stacked
from bnviz.charts.theme import axis, colour, hover
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
    middle = (edges[1:] + edges[:-1]) / 2
    data = _shares(before, middle, _("before BN"), "batch", "dot")
    if after is not None:
        data += _shares(after, middle, _("after BN"), variant, "solid")
    first_of_last_row = (len(before) - 1) // COLUMNS * COLUMNS
    xs = [
        {
            **(axis("value") if channel >= first_of_last_row else {"showticklabels": False}),
            "range": [float(edges[0]), float(edges[-1])],
            "zeroline": True,
        }
        for channel in range(len(before))
    ]
    ys = [
        {
            **(axis("density") if channel == 0 else {}),
            "rangemode": "tozero",
            "showticklabels": channel % COLUMNS == 0,
            **({} if channel == 0 else {"matches": "y"}),
        }
        for channel in range(len(before))
    ]
    titles = [
        f"<b>{channel} ◂</b>" if channel == followed else str(channel)
        for channel in range(len(before))
    ]
    rows = -(-len(before) // COLUMNS)
    panels = grid(xs, ys, titles, COLUMNS, (0.04, 0.28 / rows))
    return drawing(data, {**panels, "hovermode": "x"}, legend_y=1.06)


def _shares(
    shares: np.ndarray, middle: np.ndarray, name: str, shade: str, dash: str
) -> list[dict[str, Any]]:
    return [
        scatter(
            channel,
            middle,
            100 * of_channel,
            mode="lines",
            line={"color": colour(shade), "dash": dash, "width": 1.8, "shape": "hvh"},
            fill="tozeroy" if dash == "solid" else "none",
            fillcolor=colour(shade, 0.15),
            name=name,
            legendgroup=dash,
            showlegend=channel == 0,
            meta=channel,
            hovertemplate=lines(
                _("channel {channel}").format(channel=channel), hover("value", "density")
            ),
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
    data = [
        scatter(
            panel,
            np.arange(len(both[panel])),
            both[panel],
            mode="markers",
            marker={
                "color": colour(variant, 0.85),
                "symbol": SYMBOLS[variant],
                "size": [14 if c == followed else 7 for c in range(len(both[panel]))],
            },
            name=labels[variant],
            legendgroup=variant,
            showlegend=panel == 0,
            customdata=list(range(len(both[panel]))),
            hovertemplate=hover("channel", quantity),
        )
        for panel, quantity in enumerate(("bn_weight", "bn_bias"))
        for variant, both in affine.items()
    ]
    layout = stacked([axis("bn_weight"), axis("bn_bias", zeroline=True)], axis("channel"))
    return drawing(data, layout)
