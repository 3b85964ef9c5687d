"""Checksums: a flipped byte anywhere in a run is refused by name, and what was cut off still opens."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from bnviz.errors import BnvizError, RunError
from bnviz.records import store
from bnviz.records.history import Schema, Table, read_table
from bnviz.records.momentum_maps import BATCH_SIZES, COLUMNS, COMPARED_MOMENTA, read_map, write_map
from bnviz.records.run_files import (
    CHECKSUMS,
    DamagedFile,
    begin_checksums,
    checksums,
    read_file,
    stored_files,
    write_checksums,
    write_file,
)

SCHEMA = Schema({"step": ("int32", ())}, chunk=8)


@pytest.fixture
def whole(store_run):
    """A finished run of two variants with a map."""
    run = store_run("note,builtin")
    rows = [(b, m, 0.5, 0.1, 0.2, 6_000) for b in BATCH_SIZES for m in COMPARED_MOMENTA]
    (run.folder / "maps").mkdir()
    write_map(run.folder / "maps" / "builtin-64.json", pd.DataFrame(rows, columns=COLUMNS))
    return run


def everything(folder):
    """All that is read of a run, as plain values; raises the error of the first damaged file."""
    run = store.open_run(folder)
    tables = {
        (name, column): table.column(column).tobytes()
        for name, table in run.history.tables.items()
        for column in table.schema.columns
    }
    weights = {
        (step, variant, name): array.tobytes()
        for variant in run.config.variants
        for step in run.checkpoints(variant)
        for name, array in run.checkpoint(step, variant).items()
    }
    maps = [read_map(path).to_json() for path in sorted((folder / "maps").glob("*"))]
    return run.config, json.dumps(run.summary), run.history.events, tables, weights, maps


def flipped(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << place % 8
    path.write_bytes(content)


def test_a_flipped_byte_anywhere_is_refused_by_name_and_changes_no_number(whole):
    """Two places in each file, and forty more over all bytes of the run."""
    generator = np.random.default_rng(0)
    files = [whole.folder / name for name in [*stored_files(whole.folder), CHECKSUMS]]
    sizes = np.array([path.stat().st_size for path in files])
    each = [(p, int(generator.integers(p.stat().st_size))) for p in files * 2]
    chosen = generator.choice(len(files), 40, p=sizes / sizes.sum())
    anywhere = [(files[k], int(generator.integers(sizes[k]))) for k in chosen]
    before = everything(whole.folder)
    for path, place in each + anywhere:
        content = path.read_bytes()
        flipped(path, place)
        named = store.damage(whole.folder)
        if path.name == CHECKSUMS:  # what the line spoke for is refused
            assert named, place
        else:
            assert any(str(path) in sentence for sentence in named), (path, place)
        with pytest.raises(RunError) as error:
            everything(whole.folder)
        assert path.name == CHECKSUMS or path.name in str(error.value)
        path.write_bytes(content)
    assert everything(whole.folder) == before
    assert store.damage(whole.folder) == []


def test_a_run_from_before_there_were_checksums_opens_and_is_called_unverified(whole):
    before = everything(whole.folder)
    assert whole.verified and store.list_runs(whole.folder.parent)[0].verified
    (whole.folder / CHECKSUMS).unlink()
    assert everything(whole.folder) == before
    assert not store.open_run(whole.folder).verified
    assert not store.list_runs(whole.folder.parent)[0].verified
    write_file(whole.folder, "maps/other.json", b"{}")  # must not begin checksums by itself
    assert not (whole.folder / CHECKSUMS).exists()


def test_checksums_can_be_given_to_a_run_that_has_none(whole):
    (whole.folder / CHECKSUMS).unlink()
    write_checksums(whole.folder)
    assert store.damage(whole.folder) == []
    flipped(whole.folder / "steps-note.arrow", 4321)
    with pytest.raises(RunError, match=r"steps-note\.arrow cannot be read.*checksum.*Delete"):
        store.open_run(whole.folder)


def test_every_file_of_the_recorded_run_has_its_checksum():
    assert sorted(checksums(store.RECORDED_FOLDER)) == stored_files(store.RECORDED_FOLDER)
    assert store.damage(store.RECORDED_FOLDER) == []


@pytest.fixture
def cut_off(tmp_path):
    """A table of three chunks and a bit, not closed."""
    begin_checksums(tmp_path)
    table = Table(SCHEMA, tmp_path / "t.arrow")
    table.extend(step=np.arange(28))
    return tmp_path / "t.arrow"


def opened(path, **options):
    return read_table(path, SCHEMA, parts=checksums(path.parent).get("t.arrow", []), **options)


def test_a_table_that_was_cut_off_anywhere_opens_up_to_its_last_whole_chunk(cut_off):
    content = cut_off.read_bytes()
    ends = [end for _start, end, _crc in checksums(cut_off.parent)["t.arrow"]]
    assert ends[-1] == len(content)
    for size in range(0, len(content) + 1, 7):
        cut_off.write_bytes(content[:size])
        rows = opened(cut_off).column("step").tolist()
        assert rows == list(range(8 * sum(end <= size for end in ends)))


def test_a_checksum_that_was_cut_off_leaves_its_chunk_out(cut_off):
    file = cut_off.parent / CHECKSUMS
    file.write_bytes(file.read_bytes()[:-3])
    assert len(opened(cut_off)) == 16


def test_a_flipped_byte_in_a_table_that_was_cut_off_is_refused(cut_off):
    content = cut_off.read_bytes()
    for place in range(0, len(content), 11):
        flipped(cut_off, place)
        with pytest.raises(RunError, match=r"t\.arrow cannot be read"):
            opened(cut_off)
        cut_off.write_bytes(content)
    flipped(cut_off.parent / CHECKSUMS, 3)  # the line of the first chunk
    with pytest.raises(RunError, match=r"t\.arrow cannot be read"):
        opened(cut_off)


def test_a_table_after_a_full_disk_opens_as_finished_with_what_was_stored(cut_off, monkeypatch):
    table = Table(SCHEMA, cut_off.with_name("full.arrow"))
    table.extend(step=np.arange(20))

    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bnviz.records.history.add_checksum", full)
    table.extend(step=np.arange(20, 40))
    table.close()
    assert "No space left" in table.error
    assert table.column("step").tolist() == list(range(40))
    parts = checksums(cut_off.parent)["full.arrow"]
    stored = read_table(cut_off.with_name("full.arrow"), SCHEMA, parts=parts, finished=True)
    assert stored.column("step").tolist() == list(range(16))


def test_a_file_whose_second_writing_was_stopped_is_still_the_first(tmp_path, monkeypatch):
    begin_checksums(tmp_path)
    write_file(tmp_path, "a.json", b"one")

    def killed(_path, _content):
        raise OSError("killed")

    with monkeypatch.context() as patched:
        patched.setattr("bnviz.records.run_files.write_atomically", killed)
        with pytest.raises(OSError, match="killed"):
            write_file(tmp_path, "a.json", b"two")
    assert read_file(tmp_path, "a.json") == b"one"
    write_file(tmp_path, "a.json", b"two")
    assert read_file(tmp_path, "a.json") == b"two"
    (tmp_path / "a.json").write_bytes(b"three")
    with pytest.raises(DamagedFile, match=r"a\.json"):
        read_file(tmp_path, "a.json")


@pytest.mark.parametrize("name", ["steps-note", "stages-builtin", "memory-note", "process"])
def test_a_finished_run_without_one_of_its_tables_is_refused(whole, name):
    for with_checksums in (True, False):
        if not with_checksums:
            (whole.folder / CHECKSUMS).unlink()
        (whole.folder / f"{name}.arrow").unlink(missing_ok=True)
        with pytest.raises(RunError, match=rf"{name}\.arrow cannot be read \(No such file"):
            store.open_run(whole.folder)


def test_a_table_that_was_never_filled_is_empty(whole):
    assert not (whole.folder / "gradients-note.arrow").exists()
    assert len(whole.history["gradients-note"]) == 0


def test_of_a_run_that_was_cut_off_a_missing_table_was_not_written_yet(whole, tmp_path):
    young = tmp_path / "young"
    shutil.copytree(whole.folder, young)
    (young / "summary.json").unlink()
    (young / "steps-note.arrow").unlink()
    with pytest.raises(RunError, match=r"steps-note\.arrow cannot be read"):
        store.open_run(young)  # its checksums say that there was a chunk
    (young / CHECKSUMS).unlink()
    assert len(store.open_run(young).history["steps-note"]) == 0


def test_a_finished_run_without_its_events_is_refused(whole):
    (whole.folder / "events.json").unlink()
    with pytest.raises(BnvizError, match=r"events\.json"):
        store.open_run(whole.folder)


def test_a_run_with_damaged_settings_is_left_out_of_the_list_and_named(whole):
    flipped(whole.folder / "config.json", 30)
    assert store.list_runs(whole.folder.parent) == []
    assert any("config.json" in sentence for sentence in store.damage(whole.folder))
