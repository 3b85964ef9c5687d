"""A layer beside its reference: how far apart they are in each case."""

from typing import Any

import numpy as np
import pandas as pd

from bnviz.charts.marks import Figure, drawing, scatter
from bnviz.charts.theme import QUANTITIES, axis, colour
from bnviz.i18n import N_, _

FLOOR, CEILING = 1e-10, 1e10
"""What is less (the same bits, say) or more (a NaN on one side) is drawn there."""
SIDES = (
    (True, N_("agrees"), "right", "circle-open"),
    (False, N_("differs"), "wrong", "x"),
)


def differences_by_dtype(frame: pd.DataFrame) -> Figure:
    """Largest difference of each case as a share of what is allowed, by dtype.

    `frame` is what `bnviz.subjects.parity.parity.report` returns; cases without numbers are left out. The
    limit is a line at 1.
    """
    measured = frame[frame["of_tolerance"].notna()]
    dtypes = list(dict.fromkeys(measured["dtype"]))
    places = _places(measured["dtype"].to_numpy(), dtypes)
    data = []
    for agrees, label, shade, symbol in SIDES:
        chosen = (measured["agrees"] == agrees).to_numpy(bool)
        rows = measured[chosen]
        if not len(rows):
            continue
        data.append(
            scatter(
                0, places[chosen], rows["of_tolerance"].clip(FLOOR, CEILING), mode="markers",
                marker={"symbol": symbol, "size": 7, "color": colour(shade)},
                name=_(label), text=[*rows["name"]],
                hovertemplate=f"%{{text}}<br>{_(QUANTITIES['of_tolerance'].label)} %{{y:.2g}}",
            )
        )  # fmt: skip
    data.append(
        scatter(
            0, [-0.5, len(dtypes) - 0.5], [1, 1], mode="lines",
            line={"color": colour("truth"), "dash": "dash", "width": 1.6},
            name=_("tolerance"), hoverinfo="skip",
        )
    )  # fmt: skip
    return drawing(data, {"xaxis": _dtype_axis(dtypes), "yaxis": _share_axis()})


def _places(of: np.ndarray, dtypes: list[str]) -> np.ndarray:
    """Where each case stands: those of a dtype side by side around the dtype's number."""
    places = np.zeros(len(of))
    for number, dtype in enumerate(dtypes):
        here = np.flatnonzero(of == dtype)
        places[here] = number + 0.8 * ((np.arange(len(here)) + 0.5) / len(here) - 0.5)
    return places


def _dtype_axis(dtypes: list[str]) -> dict[str, Any]:
    ends = [-0.5, len(dtypes) - 0.5]
    return axis("case_dtype", tickvals=list(range(len(dtypes))), ticktext=dtypes, range=ends)


def _share_axis() -> dict[str, Any]:
    return axis("of_tolerance", type="log", exponentformat="power", dtick=2)
