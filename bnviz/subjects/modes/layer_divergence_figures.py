"""How far train mode and eval mode are apart, by layer and by channel."""

import numpy as np
import pandas as pd

from bnviz.charts.marks import Figure, bars, drawing
from bnviz.charts.theme import axis, colour, from_zero, stroke
from bnviz.i18n import N_, _, lines

_APART = N_(
    "running mean %{x:.2f} σ off, running variance %{y:.2f} times the batch's<extra></extra>"
)


def drift_chain(chain: pd.Series, layer: str) -> Figure:
    """A bar a layer in the order of the network; `layer` is the chosen one. A click tells its number."""
    bar = bars(
        list(chain.index),
        chain.to_numpy(np.float32),
        [colour("measured", 0.9 if n == layer else 0.4) for n in chain.index],
        customdata=np.arange(len(chain), dtype=np.int32),
        text=[f"{value:.2f}" for value in chain],
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{x}: %{y:.3f} σ",
        name=_("difference of both modes"),
    )
    bar["marker"]["line"] = stroke("measured", width=1.5)
    scales = {"xaxis": axis("weight_layer"), "yaxis": from_zero("apart")}
    return drawing([bar], {**scales, "bargap": 0.4})


def channels_apart(rows: pd.DataFrame) -> Figure:
    """A bar a channel, the largest first; `rows` are of `bnviz.evaluation.modes.layer_drift`."""
    statistics = rows[["batch_mean", "running_mean", "batch_var", "running_var"]]
    bar = bars(
        [str(channel) for channel in rows["channel"]],
        rows["drift"].to_numpy(np.float32),
        colour("measured", 0.7),
        customdata=statistics.round(4).to_numpy().tolist(),
        hovertemplate=lines(
            _("channel %{x}: %{y:.3f} σ"),
            _("mean: batch %{customdata[0]}, running %{customdata[1]}"),
            _("variance: batch %{customdata[2]}, running %{customdata[3]}<extra></extra>"),
        ),
        name=_("difference of both modes"),
    )
    scales = {"xaxis": axis("channel", type="category"), "yaxis": from_zero("apart")}
    return drawing([bar], scales)


def statistics_apart(rows: pd.DataFrame) -> Figure:
    """A dot a channel: shift of the mean across, ratio of the variances up, drift as its size."""
    varies = rows[(rows["batch_var"] > 0) & (rows["running_var"] > 0)]
    shift = (varies["running_mean"] - varies["batch_mean"]) / np.sqrt(varies["batch_var"])
    drift = varies["drift"].to_numpy()
    size = (6 + 14 * drift / max(drift.max(initial=0), 1e-9)).astype(np.float32)
    channels = {
        "type": "scatter",
        "x": shift.to_numpy(np.float32),
        "y": (varies["running_var"] / varies["batch_var"]).to_numpy(np.float32),
        "mode": "markers",
        "marker": {"color": colour("measured", 0.6), "size": size},
        "text": [str(channel) for channel in varies["channel"]],
        "hovertemplate": lines(_("channel %{text}"), _(_APART)),
        "name": _("a channel; larger: further apart"),
        "showlegend": True,
    }
    cross = {"symbol": "cross-thin", "size": 16, "line": stroke("truth")}
    none = {"name": _("no difference"), "hoverinfo": "skip"}
    same = {"type": "scatter", "x": [0], "y": [1], "mode": "markers", "marker": cross, **none}
    scales = {"xaxis": axis("mean_shift", zeroline=True), "yaxis": axis("var_ratio", type="log")}
    return drawing([channels, same], scales)
