"""The ablation: what each quirk changes, with its spread over the seeds."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from bnviz.charts.marks import Figure, drawing, names_down
from bnviz.charts.theme import QUANTITIES, axis, colour
from bnviz.i18n import N_, _, lines
from bnviz.units import MIB

# Measure of the bench: its quantity on the axis, and what one unit of the measure is in it.
SCALES: dict[str, tuple[str, float]] = {
    "eval_accuracy": ("effect_points", 100.0),
    "train_accuracy": ("effect_points", 100.0),
    "reload_change": ("effect_points", 100.0),
    "printed_accuracy": ("effect_points", 100.0),
    "train_loss": ("effect_loss", 1.0),
    "kept_bytes": ("effect_kept", 1 / MIB),
    "mean_drift": ("effect_mean", 1.0),
    "var_drift": ("effect_var", 100.0),
    "ms": ("effect_time", 1.0),
}
GROUPS = (
    (True, N_("counts"), "measured", "circle"),
    (False, N_("may be chance"), "batch", "circle-open"),
)


def effect_by_quirk(effects: pd.DataFrame, measure: str, labels: Mapping[str, str]) -> Figure:
    """The difference of each setting from no quirk, with its 95 % interval as a bar.

    `effects` is what `bnviz.subjects.note.ablation_effects.effects` returns, `labels` names its settings in the
    order in which they are to stand.
    """
    quantity, scale = SCALES[measure]
    rows = effects[effects["measure"] == measure].set_index("setting").loc[list(labels)]
    values = scale * rows[["difference", "interval"]].fillna({"interval": 0})
    data = []
    for clear, name, shade, symbol in GROUPS:
        marker = {"size": 10, "color": colour(shade), "symbol": symbol}
        shown = values[rows["clear"] == clear]
        names = [labels[str(setting)] for setting in shown.index]
        data.append({**_dots(shown, names, quantity, marker), "name": _(name)})
    order = {"categoryorder": "array", "categoryarray": list(labels.values())}
    scales = {"xaxis": axis(quantity, zeroline=True), "yaxis": {**names_down("quirk"), **order}}
    return drawing(data, scales)


def _dots(
    shown: pd.DataFrame, names: list[str], quantity: str, marker: dict[str, Any]
) -> dict[str, Any]:
    """A dot a name at its difference, with a bar as long as its interval to both sides."""
    what, intervals = QUANTITIES[quantity], shown["interval"].to_numpy(np.float32)
    number = f"%{{x:{what.format}}} ± %{{error_x.array:.2g}}{what.after()}"
    bar = {"type": "data", "array": intervals, "color": marker["color"], "thickness": 1.6}
    return {
        "type": "scatter",
        "mode": "markers",
        "x": shown["difference"].to_numpy(np.float32),
        "y": names,
        "error_x": bar,
        "marker": marker,
        "hovertemplate": lines("%{y}", number),
    }
