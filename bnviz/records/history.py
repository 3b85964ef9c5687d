"""`History`: append-only tables, the only channel from training to analysis and screen.

>>> history = History({"loss": Schema({"step": ("int32", ()), "value": ("float64", ())})})
>>> history["loss"].append(step=1, value=2.3)
>>> history["loss"].column("value").tolist()
[2.3]

One thread writes, any thread reads: a row is filled first and counted afterwards, so a reader
that takes the length once sees whole rows only, without a lock and without a copy of what is
already on disk. With a folder, each table is also an Arrow IPC stream (``<table>.arrow``), written
a chunk at a time and then read back by memory map, so memory does not grow with the run.
"""

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bnviz.errors import RunError
from bnviz.i18n import _
from bnviz.records.run_files import DamagedFile, Part, add_checksum, intact_length


@dataclass(frozen=True)
class Schema:
    """Columns of a table: name to (NumPy dtype, shape of one row's entry); rows per chunk."""

    columns: Mapping[str, tuple[str, tuple[int, ...]]]
    chunk: int = 256
    added: tuple[str, ...] = ()
    """Columns, the last ones, that runs of earlier versions have not."""

    def before(self) -> "Schema":
        """The columns that earlier versions wrote."""
        columns = {name: kind for name, kind in self.columns.items() if name not in self.added}
        return Schema(columns, self.chunk)

    def arrow(self) -> pa.Schema:
        """The same as an Arrow schema; entries with a shape become flat fixed-size lists."""
        return pa.schema(
            [
                pa.field(
                    name,
                    pa.from_numpy_dtype(dtype)
                    if not shape
                    else pa.list_(pa.from_numpy_dtype(dtype), int(np.prod(shape))),
                )
                for name, (dtype, shape) in self.columns.items()
            ]
        )


Chunk = dict[str, np.ndarray]


class Table:
    """Append-only rows of fixed-shape columns, in chunks of preallocated NumPy arrays."""

    def __init__(self, schema: Schema, path: Path | None = None):
        self.schema = schema
        self.error: str | None = None
        self._path = path
        self._file: Any = None
        self._stored = 0  # bytes of the file that have a checksum
        self._writer: Any = None
        self._rows = 0
        # (first row, arrays); the last one is being filled, the others are closed.
        self._chunks: list[tuple[int, Chunk]] = [(0, self._new_chunk())]

    def __len__(self) -> int:
        return self._rows

    def _new_chunk(self) -> Chunk:
        return {
            name: np.empty((self.schema.chunk, *shape), dtype)
            for name, (dtype, shape) in self.schema.columns.items()
        }

    def append(self, **row: Any) -> None:
        """Add one row; every column must be given."""
        self.extend(**{name: np.asarray(value)[None] for name, value in row.items()})

    def extend(self, **rows: Any) -> None:
        """Add as many rows as each array is long."""
        count, done = len(next(iter(rows.values()))), 0
        while done < count:
            start, tail = self._chunks[-1]
            at = self._rows - start
            take = min(count - done, self.schema.chunk - at)
            for name in self.schema.columns:
                tail[name][at : at + take] = rows[name][done : done + take]
            self._rows += take
            done += take
            if at + take == self.schema.chunk:
                self._seal()

    def _seal(self) -> None:
        """Close the chunk that is being filled (onto the disk where there is one), begin a new."""
        start, tail = self._chunks[-1]
        full = {name: array[: self._rows - start] for name, array in tail.items()}
        self._chunks[-1] = (start, self._spill(full))
        self._chunks.append((self._rows, self._new_chunk()))

    def _spill(self, chunk: Chunk) -> Chunk:
        if self._path is None or self.error is not None:
            return chunk
        try:
            if self._writer is None:
                self._file = pa.OSFile(str(self._path), "wb")
                self._writer = pa.ipc.new_stream(self._file, self.schema.arrow())
            self._writer.write_batch(_to_batch(self.schema, chunk))
            reader = pa.BufferReader(self._add_checksum())
            message = pa.ipc.read_message(reader)
            if message.type == "schema":  # the first batch is preceded by the schema
                message = pa.ipc.read_message(reader)
            batch = pa.ipc.read_record_batch(message, self.schema.arrow())
            return _from_batch(self.schema, batch)
        except OSError as error:
            # The disk is full or gone: keep the rest in memory and let the page say so.
            self.error = str(error)
            return chunk

    def _add_checksum(self) -> Any:
        """Give what was written since the last time a checksum; returns it, mapped from the disk."""
        assert self._path is not None
        self._file.flush()
        with pa.memory_map(str(self._path)) as mapped:
            written = mapped.read_buffer().slice(self._stored)
        add_checksum(self._path.parent, self._path.name, self._stored, memoryview(written))
        self._stored += len(memoryview(written))
        return written

    def column(self, name: str, start: int = 0, stop: int | None = None, step: int = 1) -> Any:
        """Rows ``start:stop:step`` of a column as one array (start and stop not negative)."""
        rows = self._rows
        stop = rows if stop is None else min(stop, rows)
        parts = []
        for begin, chunk in list(self._chunks):
            first = start if begin <= start else begin + (start - begin) % step
            last = min(begin + len(chunk[name]), stop)
            if first < last:
                parts.append(chunk[name][first - begin : last - begin : step])
        if len(parts) == 1:
            return parts[0]
        dtype, shape = self.schema.columns[name]
        return np.concatenate(parts) if parts else np.empty((0, *shape), dtype)

    def flush(self) -> None:
        """Put all rows on disk (a shorter last chunk)."""
        if self._path is not None and self._rows > self._chunks[-1][0]:
            self._seal()

    def close(self) -> None:
        """Flush and end the stream; the table can still be read."""
        self.flush()
        try:
            if self._writer is not None:
                self._writer.close()
                if self.error is None:
                    self._add_checksum()
                self._file.close()
                if self.error is not None and self._path is not None:
                    os.truncate(self._path, self._stored)  # only whole chunks stay
        except OSError as error:
            self.error = str(error)
        self._writer = self._path = None


def _to_batch(schema: Schema, chunk: Chunk) -> pa.RecordBatch:
    arrays = []
    for name, field in zip(schema.columns, schema.arrow(), strict=True):
        flat = pa.array(np.ascontiguousarray(chunk[name]).reshape(-1))
        fixed = pa.types.is_fixed_size_list(field.type)
        arrays.append(
            pa.FixedSizeListArray.from_arrays(flat, field.type.list_size) if fixed else flat
        )
    return pa.record_batch(arrays, schema=schema.arrow())


def _from_batch(schema: Schema, batch: pa.RecordBatch) -> Chunk:
    chunk = {}
    for name, (_dtype, shape) in schema.columns.items():
        array = batch.column(name)
        flat = array.flatten() if shape else array
        chunk[name] = flat.to_numpy(zero_copy_only=True).reshape(-1, *shape)
    return chunk


class History:
    """The tables of one run by name, with the events of the run in order.

    An event is a dict with ``step``, ``kind`` and whatever belongs to the kind, for example
    ``{"step": 120, "kind": "set", "name": "momentum", "old": 0.1, "new": 0.9}``.
    """

    def __init__(self, schemas: Mapping[str, Schema], folder: Path | None = None):
        self.tables = {
            name: Table(schema, folder / f"{name}.arrow" if folder else None)
            for name, schema in schemas.items()
        }
        self.events: list[dict[str, Any]] = []

    def __getitem__(self, name: str) -> Table:
        return self.tables[name]

    def __contains__(self, name: str) -> bool:
        return name in self.tables

    @property
    def error(self) -> str | None:
        """Why rows no longer reach the disk, or None."""
        return next((t.error for t in self.tables.values() if t.error), None)

    def flush(self) -> None:
        """Put all rows of all tables on disk."""
        for table in self.tables.values():
            table.flush()

    def close(self) -> None:
        """End all streams; the tables can still be read."""
        for table in self.tables.values():
            table.close()


def read_table(
    path: Path, schema: Schema, *, finished: bool = False, parts: list[Part] | None = None
) -> Table:
    """Open a stored table by memory map, up to its last whole chunk.

    `parts` are its checksums (`bnviz.records.run_files.checksums`), an empty list if the run has
    them but none for this file; with None it is read as it is. Of a run that was cut off, a missing
    file or one without a whole chunk is an empty table: it was not written yet.

    Raises RunError when the file holds other columns or other bytes than were written, and when a
    table of a `finished` run, or one that had a chunk already, is missing.
    """
    try:
        with pa.memory_map(str(path)) as mapped:
            content = mapped.read_buffer()
        if parts is not None:
            end = intact_length(path.name, memoryview(content), parts, finished=finished)
            if not end:
                return Table(schema)
            content = content.slice(0, end)
        return _read_stream(pa.ipc.open_stream(content), schema, path)
    except FileNotFoundError as error:
        if finished or parts:
            raise _unreadable(path, os.strerror(errno.ENOENT)) from error
    except (pa.ArrowInvalid, OSError, DamagedFile) as error:
        raise _unreadable(path, error) from error
    return Table(schema)


def _unreadable(path: Path, reason: object) -> RunError:
    return RunError(
        _("{path} cannot be read ({error}). Delete this run.").format(path=path, error=reason)
    )


def _read_stream(reader: Any, schema: Schema, path: Path) -> Table:
    """The whole chunks of a stream. Raises RunError for other columns."""
    known = next((s for s in (schema, schema.before()) if s.arrow() == reader.schema), None)
    if known is None:
        raise RunError(
            _("{path} holds other columns than this version of bnviz writes.").format(path=path)
        )
    table = Table(known)
    while True:
        try:
            batch = reader.read_next_batch()
        except (StopIteration, pa.ArrowInvalid, OSError):
            return table
        table._chunks[-1] = (table._rows, _from_batch(table.schema, batch))
        table._rows += batch.num_rows
        table._chunks.append((table._rows, table._new_chunk()))
