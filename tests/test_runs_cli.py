"""`python -m bnviz runs`: what is stored, whether it is as it was written, its name, its end."""

import json
import os
import time
from datetime import datetime

import pytest

from bnviz.errors import ConfigError, RunError
from bnviz.records import store
from bnviz.records.run_files import CHECKSUMS
from tests.command_line import bnviz


@pytest.fixture
def folder(short_config):
    """A stored run without a step, begun at 12:31."""
    writer = store.RunWriter(
        store.runs_folder(), "20260102-123100-x", short_config(variants="composite,builtin")
    )
    writer.finish({"variants": {}})
    return writer.folder


def listed(*options):
    done = bnviz("runs", "--json", *options)
    return {row["id"]: row for row in json.loads(done.stdout)}, done


def test_runs_are_listed_with_a_name_made_from_their_settings(folder):
    rows, done = listed()
    assert done.exit_code == 0
    assert list(rows) == [folder.name, "recorded"]
    row = rows[folder.name]
    assert row["name"] == "Hand-written BN + nn.BatchNorm, batch 16, 12:31"
    assert (row["finished"], row["checksums"], row["damage"]) == (True, True, None)
    assert datetime.fromisoformat(row["stored"]).timestamp() == pytest.approx(time.time(), abs=600)
    head, line, recorded = bnviz("runs").stdout.splitlines()
    assert head.split() == ["run", "name", "stored", "state", "files"]
    assert "Hand-written BN + nn.BatchNorm, batch 16, 12:31" in line and "finished" in line
    assert "Recorded run" in recorded


def test_without_a_time_in_its_id_a_run_is_named_by_the_date_of_its_settings(folder):
    other = folder.rename(folder.with_name("mine"))
    os.utime(other / "config.json", (0, datetime(2026, 3, 4, 15, 16).timestamp()))
    assert store.open_run(other).name.endswith("batch 16, 15:16")
    assert store.run_name(store.open_run(other).config, "20260102-070800-x").endswith("07:08")


def test_a_chosen_name_is_kept_in_the_folder_and_read_everywhere(folder, tmp_path):
    done = bnviz("runs", "--rename", folder.name, " Grüße – first ")
    assert done.stdout == f"{folder.name} is called Grüße – first now.\n"
    assert store.open_run(folder).name == store.list_runs(folder.parent)[0].name == "Grüße – first"
    elsewhere = folder.rename(tmp_path / "elsewhere")
    assert store.open_run(elsewhere).name == "Grüße – first"
    bnviz("runs", "--rename", elsewhere, "second")
    assert store.open_run(elsewhere).name == "second"
    assert store.damage(elsewhere) == []
    (elsewhere / store.NAME_FILE).write_text("third")  # not what was written: not shown, but named
    assert "Hand-written" in store.open_run(elsewhere).name
    assert "name.txt is damaged" in store.damage(elsewhere)[0]


@pytest.mark.parametrize("name", ["", "  ", "two\nlines", "x" * 81])
def test_a_name_that_is_none_is_refused(folder, name):
    with pytest.raises(ConfigError, match="1 to 80 characters on one line"):
        store.rename_run(folder, name)


def test_verify_names_what_is_damaged_and_ends_with_status_1(folder):
    rows, done = listed("--verify")
    assert done.exit_code == 0
    assert rows[folder.name]["damage"] == rows["recorded"]["damage"] == []
    assert bnviz("runs", "--verify").stdout.count("verified") == 2
    (folder / "events.json").write_text("[] ")
    done = bnviz("runs", "--verify")
    assert done.exit_code == 1
    assert "damaged" in done.stdout
    assert "events.json is damaged" in done.stderr
    assert bnviz("runs").exit_code == 0  # the list alone reads no more than the settings
    (folder / CHECKSUMS).unlink()
    assert "unverified" in bnviz("runs").stdout


def test_a_run_whose_settings_are_damaged_is_in_the_list_and_can_be_deleted(folder):
    (folder / "config.json").write_text("{}")
    done = bnviz("runs")
    assert done.exit_code == 1
    assert "config.json is damaged" in done.stderr
    assert bnviz("runs", "--delete", folder.name).stdout == f"{folder.name} is deleted.\n"
    assert not folder.exists()
    assert list(listed()[0]) == ["recorded"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--delete", "nowhere"], ["run: got 'nowhere'", "recorded, 20260102-123100-x"]),
        (["--delete", "recorded"], ["belongs to the package"]),
        (["--rename", "recorded", "mine"], ["belongs to the package"]),
        (["--rename", "nowhere", "mine"], ["run: got 'nowhere'"]),
        (["--rename", "nowhere", "a", "--delete", "b"], ["got both"]),
    ],
    ids=lambda value: " ".join(value)[:30],
)
def test_bad_input_is_status_2_and_one_line(folder, options, words):
    done = bnviz("runs", *options)
    assert (done.exit_code, done.stdout) == (2, "")
    (line,) = done.stderr.strip().splitlines()
    assert all(word in line for word in words)
    assert folder.exists()
    assert store.damage(store.RECORDED_FOLDER) == []


def test_what_is_no_run_is_neither_renamed_nor_deleted(tmp_path):
    for change in (store.delete_run, lambda folder: store.rename_run(folder, "mine")):
        with pytest.raises(RunError, match="nothing was done"):
            change(tmp_path)
