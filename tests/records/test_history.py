import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnviz.errors import RunError
from bnviz.records.history import Schema, Table, read_table

SCHEMA = Schema({"step": ("int32", ()), "value": ("float32", (2, 3))}, chunk=8)


def filled(rows, path=None):
    table = Table(SCHEMA, path)
    values = np.random.default_rng(0).normal(size=(rows, 2, 3)).astype(np.float32)
    for k in range(rows):
        table.append(step=k, value=values[k])
    return table, values


@given(rows=st.integers(0, 40), start=st.integers(0, 45), width=st.integers(0, 45),
       step=st.integers(1, 9))  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_a_column_is_sliced_like_an_array(rows, start, width, step):
    table, values = filled(rows)
    assert np.array_equal(
        table.column("value", start, start + width, step), values[start : start + width : step]
    )


@pytest.mark.parametrize("rows", [0, 1, 8, 30])
def test_what_was_written_is_read_back(tmp_path, rows):
    table, values = filled(rows, tmp_path / "t.arrow")
    table.close()
    again = read_table(tmp_path / "t.arrow", SCHEMA)
    assert len(again) == rows
    assert np.array_equal(again.column("value"), values)
    assert np.array_equal(table.column("value"), values)


def test_blocks_may_cross_chunks(tmp_path):
    table = Table(SCHEMA, tmp_path / "t.arrow")
    table.extend(step=np.arange(21), value=np.zeros((21, 2, 3)))
    assert table.column("step").tolist() == list(range(21))


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_file_that_was_cut_opens_up_to_its_last_whole_chunk(tmp_path, share):
    path = tmp_path / "t.arrow"
    table, values = filled(40, path)
    table.close()
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    again = read_table(path, SCHEMA)
    assert len(again) % 8 == 0
    assert len(again) < 40
    assert np.array_equal(again.column("value"), values[: len(again)])


def test_other_columns_are_refused_by_name(tmp_path):
    table, _values = filled(9, tmp_path / "t.arrow")
    table.close()
    with pytest.raises(RunError, match=r"t\.arrow holds other columns"):
        read_table(tmp_path / "t.arrow", Schema({"step": ("int64", ())}))


def test_a_full_disk_keeps_the_rows_in_memory_and_what_was_written(tmp_path, monkeypatch):
    table, values = filled(10, tmp_path / "t.arrow")

    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(table, "_writer", type("Full", (), {"write_batch": full, "close": full})())
    for k in range(20):
        table.append(step=10 + k, value=values[0])
    assert "No space left" in table.error
    assert table.column("step").tolist() == list(range(30))
    assert read_table(tmp_path / "t.arrow", SCHEMA).column("step").tolist() == list(range(8))


def test_a_full_file_system_does_not_stop_the_rows():
    """/dev/full is a real full disk where there is one."""
    table = Table(SCHEMA, __import__("pathlib").Path("/dev/full"))
    for k in range(20):
        table.append(step=k, value=np.zeros((2, 3)))
    assert table.error is not None
    assert len(table.column("step")) == 20


def test_a_column_that_was_added_later_is_missing_in_an_older_table(tmp_path):
    filled(9, tmp_path / "t.arrow")[0].close()
    newer = Schema({**SCHEMA.columns, "extra": ("int64", ())}, added=("extra",))
    table = read_table(tmp_path / "t.arrow", newer)
    assert list(table.schema.columns) == ["step", "value"]
    assert table.column("step").tolist() == list(range(9))
    with_extra = Table(newer, tmp_path / "new.arrow")
    with_extra.extend(step=np.arange(9), value=np.zeros((9, 2, 3)), extra=np.arange(9))
    with_extra.close()
    assert read_table(tmp_path / "new.arrow", newer).column("extra").tolist() == list(range(9))
