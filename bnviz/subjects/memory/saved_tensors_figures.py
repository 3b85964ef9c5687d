"""What a forward pass keeps for its backward pass, and the memory over one training step."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from bnviz.charts.marks import Figure, drawing, scatter
from bnviz.charts.theme import DASH, QUANTITIES, axis, colour
from bnviz.i18n import N_, _
from bnviz.units import MIB

# Bottom to top: what all variants keep alike, then what their BN layers keep.
BLOCKS = ("conv1", "conv2", "fc", "conv1 BN", "conv2 BN", "fc BN")
_STRENGTH = dict(zip(BLOCKS, (0.5, 0.35, 0.2, 0.6, 0.45, 0.3), strict=True))  # words are read on it
PHASE_NAMES = {"forward": N_("forward"), "backward": N_("backward"), "update": N_("update")}


def block_of(layer: str) -> str:
    """The bar segment of a layer of LeNet: one a convolution, one for all that is fully connected."""
    weights, _space, what = layer.partition(" ")
    place = weights if weights in ("conv1", "conv2") else "fc"
    return f"{place} BN" if what == "BN" else place


def bytes_by_layer(frame: pd.DataFrame, labels: Mapping[str, str]) -> Figure:
    """A bar for each variant, its layers stacked, in MiB; the total stands on it.

    `frame` has columns variant, layer (of a LeNet) and bytes.
    """
    table = (
        (frame["bytes"] / MIB)
        .groupby([frame["layer"].map(block_of), frame["variant"]])
        .sum()
        .unstack(fill_value=0)
        .reindex(index=list(BLOCKS), columns=list(labels), fill_value=0.0)
    )
    names = list(labels.values())
    unit, shown = QUANTITIES["saved_bytes"].unit, QUANTITIES["saved_bytes"].format
    bars = [
        {
            "type": "bar",
            "uid": f"saved {block}",
            "name": block,
            "x": names,
            "y": table.loc[block].to_numpy(np.float32),
            "marker": {"color": [_shade(block, variant) for variant in labels]},
            "text": [block] * len(names),
            "textposition": "inside",
            "insidetextanchor": "middle",
            "insidetextfont": {"color": colour("truth")},
            "textangle": 0,
            "showlegend": False,
            "hovertemplate": f"%{{x}}<br>{block}: %{{y:{shown}}} {_(unit)}<extra></extra>",
        }
        for block in BLOCKS
    ]
    totals = table.sum()
    bars.append(
        {
            "type": "scatter",
            "mode": "text",
            "x": names,
            "y": totals.to_numpy(np.float32),
            "text": [f"{total:,.3g}" for total in totals],
            "textposition": "top center",
            "name": _("total"),
            "showlegend": False,
            "hoverinfo": "skip",
            "cliponaxis": False,
        }
    )
    layout = {
        "barmode": "stack",
        "bargap": 0.25,
        "uniformtext": {"mode": "hide", "minsize": 10},
        "xaxis": axis("bn_kind", type="category", showgrid=False),
        "yaxis": axis("saved_bytes", rangemode="tozero"),
    }
    return drawing(bars, layout)


def _shade(block: str, variant: str) -> str:
    return colour(variant if block.endswith("BN") else "batch", _STRENGTH[block])


def memory_over_a_step(curves: Mapping[str, pd.DataFrame], labels: Mapping[str, str]) -> Figure:
    """Memory taken over one training step, a line for each variant with its peak marked.

    `curves`: per variant the columns at (below 1 forward, below 2 backward, below 3 update), bytes.
    """
    data = [_line(curve, variant, labels[variant]) for variant, curve in curves.items()]
    data += [_peak(curve, variant, labels[variant]) for variant, curve in curves.items()]
    layout = {
        "xaxis": _phases(),
        "yaxis": axis("taken_bytes", rangemode="tozero"),
        "shapes": [_border(at) for at in (1, 2)],
    }
    return drawing(data, layout)


def _line(curve: pd.DataFrame, variant: str, label: str) -> dict[str, Any]:
    return scatter(
        0,
        curve["at"],
        curve["bytes"] / MIB,
        mode="lines",
        name=label,
        legendgroup=variant,
        hovertemplate=_hover(label),
        line={"color": colour(variant), "dash": DASH[variant], "width": 2, "shape": "hv"},
    )


def _peak(curve: pd.DataFrame, variant: str, label: str) -> dict[str, Any]:
    top = curve.iloc[[int(curve["bytes"].to_numpy().argmax())]]
    name = _("peak, {label}").format(label=label)
    return scatter(
        0,
        top["at"],
        top["bytes"] / MIB,
        mode="markers",
        name=name,
        uid=f"peak {variant}",
        legendgroup=variant,
        showlegend=False,
        hovertemplate=_hover(name),
        marker={"color": colour(variant), "size": 9, "symbol": "diamond"},
    )


def _hover(label: str) -> str:
    what = QUANTITIES["taken_bytes"]
    return f"{label}<br>{_(what.label)} %{{y:{what.format}}}{what.after()}<extra></extra>"


def _phases() -> dict[str, Any]:
    """Each phase is given the same width, so that variants of another speed can be compared."""
    return axis(
        "step_part",
        range=[0, len(PHASE_NAMES)],
        tickvals=[k + 0.5 for k in range(len(PHASE_NAMES))],
        ticktext=[_(name) for name in PHASE_NAMES.values()],
        showgrid=False,
    )


def _border(at: int) -> dict[str, Any]:
    """Where one phase ends and the next begins."""
    return {
        "type": "line", "x0": at, "x1": at, "xref": "x", "y0": 0, "y1": 1, "yref": "paper",
        "line": {"color": colour("batch"), "width": 1, "dash": "dot"},
    }  # fmt: skip
