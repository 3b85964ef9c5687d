"""Small multiples: where several panels of one figure stand, and the marks they share."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from bnviz.charts.theme import axis, colour, hover, own_stroke, stroke
from bnviz.i18n import _, lines

Figure: TypeAlias = dict[str, Any]
"""``{"data": [traces], "layout": {…}}`` in plotly's own names: ``go.Figure(figure)`` takes it as it is.

Plain dicts, because checking every property again at each tick took longer than all the rest; the
tests check them through `go.Figure` instead.
"""

HEADED_MARGIN = {"l": 48, "r": 10, "t": 26, "b": 40}
"""Pixels around panels that have their names above them."""
NOTES = 6
"""So many of the newest events have words beside their marks."""


def domains(count: int, gap: float) -> list[list[float]]:
    """`count` equal stretches of the unit interval with `gap` between them, first one first."""
    width = (1 - gap * (count - 1)) / max(count, 1)
    starts = [k * (width + gap) for k in range(count)]
    return [[start, min(start + width, 1.0)] for start in starts]


def suffix(k: int) -> str:
    """Plotly's number of the k-th axis: '' for the first, then 2, 3, …"""
    return "" if k == 0 else str(k + 1)


def in_panel(k: int) -> dict[str, str]:
    """The axes of the panel of that number, for a trace."""
    return {"xaxis": f"x{suffix(k)}", "yaxis": f"y{suffix(k)}"}


def one_entry(name: str, group: str, *, shown: bool) -> dict[str, Any]:
    """One entry in the legend for all traces of a `group`: that of the one where it is `shown`."""
    return {"name": name, "legendgroup": group, "showlegend": shown}


def scatter(panel: int, x: Any, y: Any, **style: Any) -> dict[str, Any]:
    """A scatter trace in the panel of that number, with single-precision numbers."""
    numbers = {"x": np.asarray(x, np.float32), "y": np.asarray(y, np.float32)}
    return {"type": "scatter", **numbers, **in_panel(panel), **style}


def curve(
    panel: int, x: Any, y: Any, quantities: tuple[str, str], line: dict[str, Any], **style: Any
) -> dict[str, Any]:
    """A line, whose hover names the `quantities` of x and y; `line` as `stroke` makes it."""
    looks = {"mode": "lines", "line": line, "hovertemplate": hover(*quantities), **style}
    return scatter(panel, x, y, **looks)


def named_curve(
    x: Any, y: Any, quantities: tuple[str, str], line: dict[str, Any], name: str, **style: Any
) -> dict[str, Any]:
    """A `curve` with marks in a figure of one panel, whose hover begins with its name."""
    said = lines(name, hover(*quantities))
    looks = {"mode": "lines+markers", "hovertemplate": said, **style}
    return curve(0, x, y, quantities, line, name=name, **looks)


def curves_over_steps(
    frames: Mapping[str, pd.DataFrame],
    quantities: Sequence[str],
    labels: Mapping[str, str],
    **line: Any,
) -> list[dict[str, Any]]:
    """Panels above each other: each of `quantities` over the steps, a line for each variant.

    `frames`: per variant the columns step and `quantities`. `line` is added to the style of all.
    """
    return [
        curve(
            panel,
            frame["step"],
            frame[quantity],
            ("step", quantity),
            {**own_stroke(variant), **line},
            **one_entry(labels[variant], variant, shown=panel == 0),
        )
        for panel, quantity in enumerate(quantities)
        for variant, frame in frames.items()
    ]


def dots(
    panel: int, x: Any, y: Any, quantities: tuple[str, str], marker: dict[str, Any], **style: Any
) -> dict[str, Any]:
    """Marks, whose hover names the `quantities` of x and y; `marker` in plotly's own names."""
    looks = {"mode": "markers", "marker": marker, "hovertemplate": hover(*quantities), **style}
    return scatter(panel, x, y, **looks)


def bars(x: Any, y: Any, shade: Any, **style: Any) -> dict[str, Any]:
    """Bars of one colour, or of one each; without an entry in the legend unless `style` says so."""
    marker = {"color": shade}
    return {"type": "bar", "x": x, "y": y, "marker": marker, "showlegend": False, **style}


def bars_down(x: Any, names: Sequence[str], shade: Any, **style: Any) -> dict[str, Any]:
    """Horizontal bars, for an axis of `names_down`."""
    return bars(x, list(names), shade, orientation="h", **style)


def names_down(quantity: str | None = None) -> dict[str, Any]:
    """An axis of names, the first of them on top."""
    title = axis(quantity) if quantity else {}
    return {**title, "autorange": "reversed", "automargin": True, "type": "category"}


def upright(panel: int, at: Any, line: dict[str, Any]) -> dict[str, Any]:
    """A line at `at` on the x axis of a panel, through the whole height of the figure."""
    ends = {"x0": at, "x1": at, "y0": 0, "y1": 1}
    return {"type": "line", "xref": f"x{suffix(panel)}", "yref": "paper", **ends, "line": line}


def words_at(
    text: str, x: Any, y: Any, refs: tuple[str, str], anchors: tuple[str, str], **style: Any
) -> dict[str, Any]:
    """A text in a figure: `refs` say what x and y are measured on, `anchors` which corner is there."""
    places = {"x": x, "y": y, "xref": refs[0], "yref": refs[1]}
    corner = {"xanchor": anchors[0], "yanchor": anchors[1]}
    return {"text": text, **places, **corner, "showarrow": False, **style}


def stacked(rows: Sequence[dict[str, Any]], x: dict[str, Any], gap: float = 0.1) -> dict[str, Any]:
    """Layout of panels above each other that share their x axis; `rows` are the y axes."""
    layout: dict[str, Any] = {}
    for k, (y, domain) in enumerate(zip(rows, reversed(domains(len(rows), gap)), strict=True)):
        layout[f"yaxis{suffix(k)}"] = {**y, "domain": domain, "anchor": f"x{suffix(k)}"}
        last = k == len(rows) - 1
        layout[f"xaxis{suffix(k)}"] = {
            **(x if last else {}),
            "anchor": f"y{suffix(k)}",
            "showticklabels": last,
            **({} if k == 0 else {"matches": "x"}),
        }
    return layout


def grid(
    xs: Sequence[dict[str, Any]],
    ys: Sequence[dict[str, Any]],
    titles: Sequence[str],
    columns: int,
    gaps: tuple[float, float] = (0.13, 0.24),
) -> dict[str, Any]:
    """Layout of panels in a grid, each with its own axes and a small title above it.

    `gaps` between columns and between rows are shares of the figure.
    """
    rows = -(-len(xs) // columns)
    across, down = domains(columns, gaps[0]), list(reversed(domains(rows, gaps[1])))
    layout: dict[str, Any] = {"annotations": [], "meta": {"panels": list(titles)}}
    for k, (x, y, title) in enumerate(zip(xs, ys, titles, strict=True)):
        column, row = across[k % columns], down[k // columns]
        layout[f"xaxis{suffix(k)}"] = {**x, "domain": column, "anchor": f"y{suffix(k)}"}
        layout[f"yaxis{suffix(k)}"] = {**y, "domain": row, "anchor": f"x{suffix(k)}"}
        layout["annotations"].append(heading(title, column[0], row[1]))
    return layout


def heading(text: str, x: float, y: float) -> dict[str, Any]:
    """A small title of a panel, whose upper left corner is at `x`, `y` of the figure (0 to 1)."""
    return words_at(text, x, y, ("paper", "paper"), ("left", "bottom"), align="left")


def step_mark(panel: int, chosen: float | None) -> list[dict[str, Any]]:
    """A line through a panel at the chosen step; none without a step."""
    return [] if chosen is None else [upright(panel, chosen, stroke("event", width=1.5))]


def event_marks(events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Vertical lines at the steps where a setting was changed or a variant stopped.

    They go through all panels of `stacked`, and are one shape however many there are.
    """
    marked = [event for event in events if event["kind"] in ("set", "variant_stopped")]
    if not marked:
        return {"shapes": [], "annotations": []}
    path = "".join(f"M{event['step']},0V1" for event in marked)
    line = stroke("event", "dot", 1)
    path_of_all = {"type": "path", "path": path, "xref": "x", "yref": "paper", "line": line}
    notes = [
        words_at(
            event_text(event), event["step"], 1, ("x", "y domain"), ("left", "top"),
            font={"color": colour("event")},
        )
        for event in marked[-NOTES:]
    ]  # fmt: skip
    return {"shapes": [path_of_all], "annotations": notes}


def event_text(event: Mapping[str, Any]) -> str:
    """A few words beside an event's mark."""
    if event["kind"] == "set":
        return _("{name} {old} → {new}").format(
            name=event["name"], old=_value(event["old"]), new=_value(event["new"])
        )
    return _("{variant} stopped").format(variant=event["variant"])


def _value(value: float | None) -> str:
    return _("cumulative") if value is None else f"{value:g}"


def drawing(data: list[dict[str, Any]], layout: dict[str, Any], legend_y: float = 1.04) -> Figure:
    """A Figure from plain traces, with the legend above the panels."""
    return {
        "data": data,
        "layout": {
            "hovermode": "closest",
            "legend": {"orientation": "h", "x": 0, "y": legend_y, "yanchor": "bottom"},
            **layout,
        },
    }
