"""How much a process grows with each step that keeps its graph, beside its tensors."""

from typing import Any

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
    data = [
        _line(default, "tensor_bytes", _("tensors kept"), "note", "solid", "circle"),
        _line(default, "process_bytes", _("process memory, glibc's default"), "truth", "solid", "square"),
        _line(with_threshold, "process_bytes", with_it, "truth", "dot", "diamond"),
    ]  # fmt: skip
    sizes = sorted(set(frame["batch_size"]))
    x = axis("batch_size_log", type="log", tickvals=sizes, ticktext=[str(n) for n in sizes])
    y = axis("growth", type="log", dtick=1, tickformat=",~g")
    return drawing(data, {"xaxis": x, "yaxis": y})


def _line(
    rows: pd.DataFrame, quantity: str, name: str, shade: str, dash: str, symbol: str
) -> dict[str, Any]:
    """The growth of one quantity (bytes) over the batch sizes."""
    rows = rows.sort_values("batch_size")
    size = rows[quantity].to_numpy(np.float64) / KIB
    grown, shown = np.where(size > 0, size, np.nan), ("batch_size_log", "growth")
    marker = {"symbol": symbol, "size": 8, "color": colour(shade)}
    line = named_curve(rows["batch_size"], grown, shown, stroke(shade, dash), name, marker=marker)
    return {**line, "hovertemplate": line["hovertemplate"] + "<extra></extra>"}
