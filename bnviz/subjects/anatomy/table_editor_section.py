"""A table of cells that a reader can edit: what is typed is checked, and each change can be undone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.elements.lib.column_types import ColumnConfig

from bnviz.errors import ConfigError
from bnviz.i18n import _
from bnviz.subjects.anatomy.cells_figures import column_names, row_names, table

LARGEST = 1e6
UNDOABLE = 50
COLUMN_PX = {2: 88, 4: 64}


@dataclass
class Edited:
    """What a session knows about one table: the past as frames of text, the newest last."""

    shape: tuple[int, ...]
    example: str
    past: list[pd.DataFrame] = field(default_factory=list)
    base: pd.DataFrame | None = None
    """What the editor on the page began with; the reader's edits stand on it."""
    version: int = 0
    """Part of the editor's key: a new one starts again from the newest of the past."""

    def put(self, frame: pd.DataFrame) -> None:
        """A new content that is not typed: an example."""
        self.past = [*self.past, frame][-UNDOABLE:]
        self.version += 1

    def undo(self) -> None:
        """Back to what was before the last change."""
        if len(self.past) > 1:
            self.past.pop()
            self.version += 1


def to_frame(cells: np.ndarray) -> pd.DataFrame:
    """Cells (N, C) or (N, C, H, W) as a table of text with the names of its rows and columns."""
    text = [[f"{value:g}" for value in row] for row in table(cells)]
    return pd.DataFrame(
        text, index=row_names(cells.shape), columns=column_names(cells.shape), dtype=object
    )


def parse(frame: pd.DataFrame, shape: Sequence[int]) -> np.ndarray:
    """The cells of `shape` that a table of text holds.

    Raises ConfigError naming the first cell that is no finite number, empty or too large.
    """
    values = np.empty(frame.shape)
    for i, row in enumerate(frame.itertuples(index=False)):
        for j, text in enumerate(row):
            values[i, j] = _number(text, f"{frame.index[i]}, {frame.columns[j]}")
    n, c, h, w = (*shape, 1, 1)[:4]
    return values.reshape(n, h, c, w).transpose(0, 2, 1, 3).reshape(shape)


def _number(text: object, cell: str) -> float:
    empty = text is None or (isinstance(text, float) and np.isnan(text)) or not str(text).strip()
    try:
        number = float("nan") if empty else float(str(text))
    except ValueError:
        number = float("nan")
    if not abs(number) <= LARGEST:
        said = (
            _(
                "Cell {cell}: got nothing; allowed: a number from −{most:,.0f} to {most:,.0f}, with "
                "a point for decimals. Type one, or press Undo."
            )
            if empty
            else _(
                "Cell {cell}: got {got!r}; allowed: a number from −{most:,.0f} to {most:,.0f}, with "
                "a point for decimals. Type one, or press Undo."
            )
        )
        raise ConfigError(said.format(cell=cell, got=str(text), most=LARGEST))
    return number


Examples = Mapping[str, tuple[str, Callable[[], np.ndarray]]]


def editable(key: str, label: str, shape: tuple[int, ...], examples: Examples) -> np.ndarray:
    """The table of that key with its examples, Undo and Reset; returns the cells as they are now.

    `examples` are name to label and what makes its cells; the first is there at the beginning. A
    new shape begins with the chosen example. Raises ConfigError as `parse`, with the table in place.
    """
    chosen = st.segmented_control(
        label, list(examples), default=next(iter(examples)), required=True, key=f"{key}_example", wrap=True,
        bind="query-params", format_func=lambda name: examples[name][0],
        help=_("Numbers to start from. Then edit any cell: choose it, type, press Enter."),
    )  # fmt: skip
    known: dict[str, Edited] = st.session_state.setdefault("edited_cells", {})
    state = known.get(key)
    if state is None or state.shape != shape:
        state = known[key] = Edited(shape, "", version=state.version + 1 if state else 0)
    if state.example != chosen:
        state.example = chosen
        state.put(to_frame(examples[chosen][1]()))
    editor = f"{key}_cells_{state.version}"
    if state.base is None or editor not in st.session_state:  # new here, or back from another page
        state.base = state.past[-1]
    frame = st.data_editor(
        state.base, key=editor, width="content",
        column_config={name: _column(name, len(shape)) for name in state.base.columns},
        alt=_("Table of cells to edit: {label}").format(label=label),
    )  # fmt: skip
    if not frame.equals(state.past[-1]):
        state.past = [*state.past, frame.copy()][-UNDOABLE:]
    _buttons(key, state, examples[chosen][1])
    return parse(frame, shape)


def _column(name: str, dims: int) -> ColumnConfig:
    """Text and not numbers, for a number column swallows what is none without a word."""
    return st.column_config.TextColumn(name, width=COLUMN_PX[dims], alignment="right", max_chars=14)


def _buttons(key: str, state: Edited, example: Callable[[], np.ndarray]) -> None:
    """Undo and Reset, below the table that they act on."""
    with st.container(horizontal=True, gap="small"):
        st.button(
            _("Undo"), key=f"{key}_undo", icon=":material/undo:", on_click=state.undo,
            disabled=len(state.past) < 2, help=_("Takes the last change back."),
        )  # fmt: skip
        st.button(
            _("Reset"), key=f"{key}_reset", icon=":material/restart_alt:",
            on_click=lambda: state.put(to_frame(example())),
            help=_("Puts the example's numbers back."),
        )  # fmt: skip
