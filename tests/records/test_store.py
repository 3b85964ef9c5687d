import io
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch

from bnviz.errors import RunError
from bnviz.nn.state import snapshot
from bnviz.records import run_files, store
from bnviz.records.schema import steps_table
from bnviz.training.trainer import Trainer


@pytest.fixture
def stored(tmp_path, short_config, sample):
    config = short_config(variants="note,builtin")
    writer = store.RunWriter(tmp_path / "runs", "one", config)
    with Trainer(config, sample, history=writer.history) as trainer:
        trainer.on_checkpoint = writer.checkpoint
        while not trainer.done:
            trainer.step()
        trainer.finish()
        trainer.checkpoint()
        writer.finish(trainer.summary(1.0))
    return trainer, writer.folder


def test_a_stored_run_is_read_back_whole(stored):
    trainer, folder = stored
    run = store.open_run(folder)
    assert run.config == trainer.config
    assert run.summary == json.loads(json.dumps(trainer.summary(1.0)))
    assert run.history.events == trainer.history.events
    for variant in run.config.variants:
        table = steps_table(variant)
        for column in ("loss", "batch_mean", "running_var"):
            np.testing.assert_array_equal(
                run.history[table].column(column), trainer.history[table].column(column)
            )


@pytest.mark.parametrize("variant", ["note", "builtin"])
def test_a_checkpoint_has_weights_and_statistics_those_of_the_note_too(stored, variant):
    trainer, folder = stored
    run = store.open_run(folder)
    assert run.checkpoints(variant)[-1] == 12
    state = snapshot(trainer.runs[variant].model)
    found = run.checkpoint(12, variant)
    assert found.keys() == state.keys()
    for name, tensor in state.items():
        assert torch.equal(torch.tensor(found[name]), tensor), name
    assert "conv.1.running_mean" in found


def test_a_run_that_was_cut_off_opens_without_a_summary(stored):
    _trainer, folder = stored
    (folder / "summary.json").unlink()
    (folder / "events.json").unlink()
    table = folder / "steps-builtin.arrow"
    table.write_bytes(table.read_bytes()[:-100])
    run = store.open_run(folder)
    assert run.summary is None
    assert len(run.history[steps_table("note")]) == 12


def test_what_is_no_run_is_refused_by_name(tmp_path):
    with pytest.raises(RunError, match=r"nothing.*cannot be opened"):
        store.open_run(tmp_path / "nothing")


def test_a_missing_checkpoint_is_named(stored):
    _trainer, folder = stored
    with pytest.raises(RunError, match=r"999-builtin.*another step"):
        store.open_run(folder).checkpoint(999, "builtin")


def test_runs_are_listed_and_deleted(stored):
    _trainer, folder = stored
    (folder.parent / "rubbish").mkdir()
    (info,) = store.list_runs(folder.parent)
    assert (info.id, info.finished) == ("one", True)
    store.delete_run(folder)
    assert store.list_runs(folder.parent) == []
    with pytest.raises(RunError, match="nothing was done"):
        store.delete_run(folder.parent / "rubbish")


def test_an_exported_run_opens_elsewhere(stored, tmp_path):
    _trainer, folder = stored
    with zipfile.ZipFile(io.BytesIO(store.export_run(folder))) as archive:
        archive.extractall(tmp_path / "elsewhere")
    again = store.open_run(tmp_path / "elsewhere" / "one")
    assert again.summary == store.open_run(folder).summary
    assert again.checkpoints("note") == store.open_run(folder).checkpoints("note")


def test_a_folder_that_cannot_be_made_is_one_clear_message(tmp_path, short_config):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="BNVIZ_RUNS"):
        store.RunWriter(tmp_path / "file", "one", short_config())


def test_a_write_that_fails_leaves_nothing_half_written(tmp_path, monkeypatch):
    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_files.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        run_files.write_atomically(tmp_path / "summary.json", b"{}")
    assert list(tmp_path.iterdir()) == []


def test_the_recorded_run_is_whole_and_says_how_it_was_made():
    run = store.recorded_run()
    assert run.summary is not None
    assert {"note", "composite", "builtin", "none"} == set(run.config.variants)
    assert all(entry["steps"] == run.config.steps for entry in run.summary["variants"].values())


def test_a_run_is_read_without_torch():
    """Home must not wait for torch."""
    code = (
        "import sys; from bnviz.records.store import recorded_run; recorded_run();"
        "import bnviz.app.router, bnviz.subjects.home.sections; from bnviz import figures; figures.load();"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_run_is_found_by_folder_by_id_and_the_recorded_one_by_its_name(stored, monkeypatch):
    _trainer, folder = stored
    monkeypatch.setenv("BNVIZ_RUNS", str(folder.parent))
    monkeypatch.chdir(folder)
    for name in (str(folder), "one", ".", "../one"):
        assert store.find_run(name).id == "one"
    assert store.find_run("recorded").folder == store.RECORDED_FOLDER
    for name in ("two", "checkpoints"):
        with pytest.raises(RunError, match=rf"run: got '{name}'.*recorded, one"):
            store.find_run(name)
