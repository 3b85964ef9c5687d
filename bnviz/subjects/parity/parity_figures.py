"""A layer beside its reference: how far apart they are in each case."""

import numpy as np
import pandas as pd

from bnviz.charts.marks import Figure, drawing, scatter
from bnviz.charts.theme import QUANTITIES, axis, colour, stroke
from bnviz.i18n import N_, _, lines

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
    number = lines("%{text}", QUANTITIES["of_tolerance"].hovered("y"))
    dtypes = list(dict.fromkeys(measured["dtype"]))
    places = _places(measured["dtype"].to_numpy(), dtypes)
    data = []
    for agrees, label, shade, symbol in SIDES:
        chosen = (measured["agrees"] == agrees).to_numpy(bool)
        rows = measured[chosen]
        if len(rows):
            share = rows["of_tolerance"].clip(FLOOR, CEILING)
            marker = {"symbol": symbol, "size": 7, "color": colour(shade)}
            said = {"name": _(label), "text": [*rows["name"]], "hovertemplate": number}
            data.append(scatter(0, places[chosen], share, mode="markers", marker=marker, **said))
    ends = [-0.5, len(dtypes) - 0.5]
    limit = {"mode": "lines", "line": stroke("truth", "dash", 1.6), "hoverinfo": "skip"}
    data.append(scatter(0, ends, [1, 1], name=_("tolerance"), **limit))
    x = axis("case_dtype", tickvals=list(range(len(dtypes))), ticktext=dtypes, range=ends)
    y = axis("of_tolerance", type="log", exponentformat="power", dtick=2)
    return drawing(data, {"xaxis": x, "yaxis": y})


def _places(of: np.ndarray, dtypes: list[str]) -> np.ndarray:
    """Where each case stands: those of a dtype side by side around the dtype's number."""
    places = np.zeros(len(of))
    for number, dtype in enumerate(dtypes):
        here = np.flatnonzero(of == dtype)
        places[here] = number + 0.8 * ((np.arange(len(here)) + 0.5) / len(here) - 0.5)
    return places
