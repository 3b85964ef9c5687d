"""How much a process grows with each step that keeps its graph, beside its tensors."""

import numpy as np
import pandas as pd

from bnviz.charts.marks import Figure, drawing, named_curve
from bnviz.charts.theme import axis, colour, stroke
from bnviz.i18n import _
from bnviz.units import KIB


def growth_over_batch_sizes(frame: pd.DataFrame) -> Figure:
    """Growth a step in KiB over batch sizes, both log: tensors, the process by default, with threshold.

    `frame` has columns batch_size, threshold (bool), tensor_bytes and process_bytes of one kind of
    step. A growth of nothing or less has no place on a log scale and is left out.
    """
    default, with_threshold = (frame[frame["threshold"] == on] for on in (False, True))
    with_it = _("process memory, with the mmap threshold")
    lines = (
        (default, "tensor_bytes", _("tensors kept"), "note", "solid", "circle"),
        (default, "process_bytes", _("process memory, glibc's default"), "truth", "solid", "square"),
        (with_threshold, "process_bytes", with_it, "truth", "dot", "diamond"),
    )  # fmt: skip
    data = []
    for rows, quantity, name, shade, dash, symbol in lines:
        rows = rows.sort_values("batch_size")
        size = rows[quantity].to_numpy(np.float64) / KIB
        marker = {"symbol": symbol, "size": 8, "color": colour(shade)}
        shown, grown = ("batch_size_log", "growth"), np.where(size > 0, size, np.nan)
        line = named_curve(
            rows["batch_size"], grown, shown, stroke(shade, dash), name, marker=marker
        )
        line["hovertemplate"] += "<extra></extra>"
        data.append(line)
    sizes = sorted(set(frame["batch_size"]))
    x = axis("batch_size_log", type="log", tickvals=sizes, ticktext=[str(n) for n in sizes])
    return drawing(
        data, {"xaxis": x, "yaxis": axis("growth", type="log", dtick=1, tickformat=",~g")}
    )
