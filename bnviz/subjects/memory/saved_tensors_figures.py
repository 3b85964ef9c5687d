"""What a forward pass keeps for its backward pass, and the memory over one training step."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from bnviz.charts.marks import Figure, bars, drawing, one_entry, scatter, upright
from bnviz.charts.theme import QUANTITIES, axis, colour, from_zero, own_stroke, stroke
from bnviz.i18n import N_, _, lines
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
    names, table = list(labels.values()), _mib_by_block(frame, list(labels))
    data = [_segment(block, names, table.T[block]) for block in BLOCKS]
    totals = {
        "type": "scatter",
        "mode": "text",
        "x": names,
        "y": table.sum().to_numpy(np.float32),
        "text": [f"{total:,.3g}" for total in table.sum()],
        "textposition": "top center",
        "cliponaxis": False,
    }
    data.append({**totals, "name": _("total"), "showlegend": False, "hoverinfo": "skip"})
    layout = {
        "barmode": "stack",
        "bargap": 0.25,
        "uniformtext": {"mode": "hide", "minsize": 10},
        "xaxis": axis("bn_kind", type="category", showgrid=False),
        "yaxis": from_zero("saved_bytes"),
    }
    return drawing(data, layout)


def _mib_by_block(frame: pd.DataFrame, variants: list[str]) -> pd.DataFrame:
    """MiB, a row for each of BLOCKS and a column a variant."""
    sums = (frame["bytes"] / MIB).groupby([frame["layer"].map(block_of), frame["variant"]]).sum()
    table = sums.unstack(fill_value=0)
    return table.reindex(index=list(BLOCKS), columns=variants, fill_value=0.0)


def _segment(block: str, names: list[str], mib: pd.Series) -> dict[str, Any]:
    """What one of BLOCKS takes in the bar of each variant."""
    what = QUANTITIES["saved_bytes"]
    return bars(
        names,
        mib.to_numpy(np.float32),
        [_shade(block, str(variant)) for variant in mib.index],
        uid=f"saved {block}",
        name=block,
        text=[block] * len(names),
        textposition="inside",
        insidetextanchor="middle",
        insidetextfont={"color": colour("truth")},
        textangle=0,
        hovertemplate=f"%{{x}}<br>{block}: %{{y:{what.format}}}{what.after()}<extra></extra>",
    )


def _shade(block: str, variant: str) -> str:
    return colour(variant if block.endswith("BN") else "batch", _STRENGTH[block])


def memory_over_a_step(curves: Mapping[str, pd.DataFrame], labels: Mapping[str, str]) -> Figure:
    """Memory taken over one training step, a line for each variant with its peak marked.

    `curves`: per variant the columns at (below 1 forward, below 2 backward, below 3 update), bytes.
    """
    data = [_line(of_step, variant, labels[variant]) for variant, of_step in curves.items()]
    data += [_peak(of_step, variant, labels[variant]) for variant, of_step in curves.items()]
    border = stroke("batch", "dot", 1)
    layout = {
        "xaxis": _phases(),
        "yaxis": from_zero("taken_bytes"),
        "shapes": [upright(0, at, border) for at in range(1, len(PHASE_NAMES))],
    }
    return drawing(data, layout)


def _line(of_step: pd.DataFrame, variant: str, label: str) -> dict[str, Any]:
    line = {**own_stroke(variant), "shape": "hv"}
    looks = {"mode": "lines", "line": line, "legendgroup": variant, "hovertemplate": _hover(label)}
    return scatter(0, of_step["at"], of_step["bytes"] / MIB, name=label, **looks)


def _peak(of_step: pd.DataFrame, variant: str, label: str) -> dict[str, Any]:
    top = of_step.iloc[[int(of_step["bytes"].to_numpy().argmax())]]
    name = _("peak, {label}").format(label=label)
    return scatter(
        0,
        top["at"],
        top["bytes"] / MIB,
        mode="markers",
        marker={"color": colour(variant), "size": 9, "symbol": "diamond"},
        uid=f"peak {variant}",
        hovertemplate=_hover(name),
        **one_entry(name, variant, shown=False),
    )


def _hover(label: str) -> str:
    return lines(label, f"{QUANTITIES['taken_bytes'].hovered('y')}<extra></extra>")


def _phases() -> dict[str, Any]:
    """Each phase is given the same width, so that variants of another speed can be compared."""
    return axis(
        "step_part",
        range=[0, len(PHASE_NAMES)],
        tickvals=[k + 0.5 for k in range(len(PHASE_NAMES))],
        ticktext=[_(name) for name in PHASE_NAMES.values()],
        showgrid=False,
    )
