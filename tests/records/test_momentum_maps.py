"""Maps of momentum x batch size: written whole, read back, refused when damaged, kept in memory."""

import json

import numpy as np
import pandas as pd
import pytest

from bnviz.errors import RunError
from bnviz.records.momentum_maps import (
    BATCH_SIZES,
    COLUMNS,
    COMPARED_MOMENTA,
    KeptMaps,
    map_path,
    read_map,
    write_map,
)
from bnviz.records.store import RECORDED_FOLDER


def whole_map():
    rows = [(b, m, 0.5, 0.1, 0.2, 6_000) for b in BATCH_SIZES for m in COMPARED_MOMENTA]
    return pd.DataFrame(rows, columns=COLUMNS)


def test_a_map_is_written_and_read_back(tmp_path):
    frame = whole_map()
    frame.loc[0, "mean_error"] = np.nan
    path = map_path(tmp_path, "builtin", 6_400)
    write_map(path, frame)
    assert path == tmp_path / "maps" / "builtin-6400.json"
    pd.testing.assert_frame_equal(read_map(path), frame)
    assert len(read_map(tmp_path / "maps" / "none.json")) == 0


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:200],
        lambda text: "",
        lambda text: "[]",
        lambda text: text.replace('"momentum"', '"m"'),
        lambda text: text.replace("0.5", "7"),
        lambda text: text.replace("0.003", "0.004"),
        lambda text: json.dumps({"rows": json.loads(text)["rows"][:5]}),
    ],
    ids=["cut", "empty", "list", "column", "accuracy", "momentum", "half a row"],
)
def test_a_file_that_was_cut_or_changed_is_named_and_not_used(tmp_path, spoil):
    path = map_path(tmp_path, "builtin", 6_400)
    write_map(path, whole_map())
    path.write_text(spoil(path.read_text()))
    with pytest.raises(RunError, match=r"builtin-6400.json.*Measure it again"):
        read_map(path)
    frame, note = KeptMaps().load("run", tmp_path, "builtin", 6_400)
    assert len(frame) == 0
    assert "Measure it again" in note


def test_what_no_folder_takes_is_kept_in_memory_and_says_so(tmp_path):
    (tmp_path / "maps").write_text("in the way")
    kept = KeptMaps()
    for run_id, folder, reason in (
        ("one", None, "not stored"),
        ("two", tmp_path, "cannot be written"),
        ("three", tmp_path / "gone", "cannot be written"),
        ("four", RECORDED_FOLDER, "belongs to the package"),
    ):
        kept.save(run_id, folder, "builtin", 64, whole_map())
        frame, note = kept.load(run_id, folder, "builtin", 64)
        assert len(frame) == len(whole_map())
        assert reason in note and "until the server ends" in note
    assert not (RECORDED_FOLDER / "maps" / "builtin-64.json").exists()


def test_a_folder_that_takes_it_is_read_by_another_server(tmp_path):
    KeptMaps().save("one", tmp_path, "builtin", 6_400, whole_map())
    frame, note = KeptMaps().load("one", tmp_path, "builtin", 6_400)
    assert (len(frame), note) == (len(whole_map()), "")


def test_the_recorded_run_has_its_map():
    frame = read_map(map_path(RECORDED_FOLDER, "builtin", 16_000))
    assert sorted(set(frame["batch_size"])) == list(BATCH_SIZES)
    best = frame.loc[frame.groupby("batch_size")["accuracy"].idxmax(), "momentum"]
    assert best.is_monotonic_increasing
