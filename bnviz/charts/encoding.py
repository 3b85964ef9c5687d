"""A plotly figure as a small JSON-ready dict: what the browser needs and nothing else.

Arrays travel as plotly's typed arrays, ``{"dtype": "f4", "bdata": base64, "shape": "60,64"}``,
in the narrowest type that draws the same picture. `plotly.io` could write the figure too, but it
copies the default template (7 kB) and keeps 64-bit numbers.
"""

import base64
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, Union

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    import plotly.graph_objects as go

Figure: TypeAlias = Union["go.Figure", Mapping[str, Any]]

# The card decides these: its own title, the height of its stage, the colours of the theme.
_NOT_SENT = frozenset({"template", "title", "width", "height"})
_EXACT_IN_FLOAT32 = 2.0**24
_SHORTEST_ARRAY = 16
LEVELS = 2**16 - 1


def encode_figure(figure: Figure) -> dict[str, Any]:
    """Return ``{"data": [...], "layout": {...}}`` of a Figure or of a dict of the same form."""
    if isinstance(figure, Mapping):
        traces, layout = figure.get("data", ()), figure.get("layout", {})
    else:
        # Part by part: the whole figure's `to_plotly_json` encodes the arrays, all 64 bits of them.
        traces = [trace.to_plotly_json() for trace in figure.data]
        layout = figure.layout.to_plotly_json()
    return {
        "data": [encode(trace) for trace in traces],
        "layout": encode({name: v for name, v in layout.items() if name not in _NOT_SENT}),
    }


def encode(value: Any) -> Any:
    """A part of a figure (a trace, an array, a number) as `encode_figure` sends it."""
    if isinstance(value, str | bool | int | None):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        # plotly.js 4 ignores a title that is a bare string.
        return {
            name: {"text": item} if name == "title" and isinstance(item, str) else encode(item)
            for name, item in value.items()
            if item is not None
        }
    if isinstance(value, list | tuple):
        if len(value) >= _SHORTEST_ARRAY and isinstance(value[0], float | int):
            return encode_array(np.asarray(value))
        return [encode(item) for item in value]
    if isinstance(value, np.generic):
        return encode(value.item())
    return encode_array(np.asarray(value))


def encode_array(array: np.ndarray) -> Any:
    """Return `array` as a plotly typed array, or as a list where it is short or not of numbers.

    float64 becomes float32 and wide integers become int32, unless the values are so large that
    whole numbers would no longer be exact (bytes, nanoseconds): those stay float64.
    """
    if array.dtype.kind in "Mm":
        array = np.datetime_as_string(array) if array.dtype.kind == "M" else array.astype("f8")
    if array.dtype.kind not in "fiu" or not 1 <= array.ndim <= 2 or array.size < _SHORTEST_ARRAY:
        return [encode(item) for item in array.tolist()]
    if array.ndim == 2 and array.dtype.kind == "f":
        return _in_levels(array)
    return _typed(_narrowed(array))


def _typed(array: np.ndarray) -> dict[str, Any]:
    """As a plotly typed array, in its own type."""
    encoded = {
        "dtype": array.dtype.str[1:],
        "bdata": base64.b64encode(np.ascontiguousarray(array).data.cast("B")).decode("ascii"),
    }
    if array.ndim == 2:
        encoded["shape"] = "{},{}".format(*array.shape)
    return encoded


def _in_levels(array: np.ndarray) -> dict[str, Any]:
    """The values of a heatmap, which only colour shows, as one of LEVELS even steps of their range.

    Half the size of single precision. ``low`` and ``level`` turn a number back into a value; the
    highest number, which no value has, is NaN.
    """
    finite = np.isfinite(array)
    low, high = array.min(where=finite, initial=np.inf), array.max(where=finite, initial=-np.inf)
    if not finite.any():
        low = high = 0.0
    level = float(high - low) / (LEVELS - 1) or 1.0
    numbers = np.where(finite, (np.where(finite, array, low) - low) / level, LEVELS)
    return {**_typed(numbers.round().astype("<u2")), "low": float(low), "level": level}


def _narrowed(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind == "f":
        if array.dtype.itemsize == 8:
            largest = np.abs(array).max(initial=0, where=np.isfinite(array))
            return array if largest > _EXACT_IN_FLOAT32 else array.astype("<f4")
        return array.astype("<f4")
    if array.dtype.itemsize <= 2:
        return array
    low, high = array.min(), array.max()
    for dtype in ("<i2", "<i4"):
        info = np.iinfo(dtype)
        if info.min <= low and high <= info.max:
            return array.astype(dtype)
    return array.astype("<f8")


def frame_of(figure: Figure) -> pd.DataFrame:
    """The numbers of a figure, a row a point, as the CSV of a chart has them.

    Columns panel (its title, or the name of its y axis), series (what ``meta`` says, else its name),
    variant (the group of the legend), quantity and unit of y, x, y and, for a heatmap, z. Histories are
    thinned to what is drawn.
    """
    whole = figure if isinstance(figure, Mapping) else figure.to_plotly_json()
    traces, layout = whole["data"], whole.get("layout", {})
    frames = [pd.DataFrame({**_place_of(trace, layout), **_points_of(trace)}) for trace in traces]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _place_of(trace: Mapping[str, Any], layout: Mapping[str, Any]) -> dict[str, str]:
    """Where a trace stands and what it is, in words."""
    number = str(trace.get("yaxis") or "y")[1:] or "1"
    title = layout.get(f"yaxis{'' if number == '1' else number}", {}).get("title") or {}
    said = title if isinstance(title, str) else title.get("text") or ""
    quantity, _bracket, unit = (
        said.removesuffix(")").rpartition(" (") if said.endswith(")") else (said, "", "")
    )
    panels = (layout.get("meta") or {}).get("panels", [])
    meta = trace.get("meta")
    place = int(str(trace.get("xaxis") or "x")[1:] or 1) - 1
    return {
        "panel": panels[place] if place < len(panels) else quantity or number,
        "series": (meta.get("series") if isinstance(meta, Mapping) else trace.get("name")) or "",
        "variant": trace.get("legendgroup") or "",
        "quantity": quantity,
        "unit": unit,
    }


def _points_of(trace: Mapping[str, Any]) -> dict[str, np.ndarray]:
    if trace.get("z") is not None:
        z = np.asarray(trace["z"], float)
        x = np.arange(z.shape[1]) if trace.get("x") is None else np.asarray(trace["x"])
        y = np.arange(z.shape[0]) if trace.get("y") is None else np.asarray(trace["y"])
        return {"x": np.tile(x, len(y)), "y": np.repeat(y, len(x)), "z": z.ravel()}
    y = np.asarray(trace.get("y") if trace.get("y") is not None else trace.get("x", []))
    x = np.arange(len(y)) if trace.get("x") is None else np.asarray(trace["x"])
    return {"x": x, "y": y}
