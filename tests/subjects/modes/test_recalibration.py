import dataclasses

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from bnviz.errors import ConfigError, RunError
from bnviz.evaluation.inference import running_statistics
from bnviz.evaluation.population import evaluate_with_statistics, recalibrate
from bnviz.records.momentum_maps import COMPARED_MOMENTA
from bnviz.records.recorded_statistics import replayed_statistics
from bnviz.records.store import RECORDED_FOLDER, export_run, open_run, recorded_run
from bnviz.subjects.modes import recalibration
from bnviz.training.checkpoints import model_at


def test_recalibration_is_that_of_the_analysis_and_its_accuracy_that_of_eval_mode(short_run, few):
    found = recalibration.recalibrate_checkpoint(
        short_run, "builtin", 25, "recalibrated", batches=4, dataset=few
    )
    model = model_at(short_run, "builtin", 25)
    batch = short_run.config.batch_size
    wanted = recalibrate(model, torch.tensor(few.train_images), batches=4, batch_size=batch)
    for name, both in wanted.items():
        for ours, theirs in zip(found.statistics[name], both, strict=True):
            np.testing.assert_allclose(ours, theirs)
    images, labels = torch.tensor(few.test_images), torch.tensor(few.test_labels)
    assert found.before == evaluate_with_statistics(model, None, images, labels).accuracy
    assert found.after == evaluate_with_statistics(model, wanted, images, labels).accuracy
    assert found.details == {"batches": 4, "batch_size": batch}
    assert found.seconds > 0


def test_a_blend_lies_between_the_own_and_the_fresh_statistics(short_run, few):
    own = running_statistics(model_at(short_run, "builtin", 25))
    fresh, none, half = (
        recalibration.recalibrate_checkpoint(
            short_run, "builtin", 25, "blended", batches=4, weight=weight, dataset=few
        ).statistics
        for weight in (1.0, 0.0, 0.5)
    )
    for name, pair in own.items():
        for k, kept in enumerate(pair):
            np.testing.assert_allclose(none[name][k], kept)
            np.testing.assert_allclose(half[name][k], (kept + fresh[name][k]) / 2)


def test_the_best_replay_is_one_of_those_tried_and_rebuilt_from_the_record(short_run, few):
    found = recalibration.recalibrate_checkpoint(short_run, "builtin", 25, "replayed", dataset=few)
    momentum = found.details["momentum"]
    wanted = replayed_statistics(short_run.config, short_run.history, "builtin", momentum, 25)
    assert all(np.array_equal(found.statistics[n][1], wanted[n][1]) for n in wanted)
    images, labels = torch.tensor(few.train_images), torch.tensor(few.train_labels)
    model = model_at(short_run, "builtin", 25)
    scores = {
        m: evaluate_with_statistics(
            model,
            replayed_statistics(short_run.config, short_run.history, "builtin", m, 25),
            images,
            labels,
        ).accuracy
        for m in COMPARED_MOMENTA
    }
    assert scores[momentum] == max(scores.values())


@pytest.mark.parametrize("variant", ["note", "builtin"])
def test_what_is_kept_can_be_loaded_listed_exported_and_dropped(store_run, few, variant):
    run = store_run(variant)
    found = recalibration.recalibrate_checkpoint(
        run, variant, 25, "recalibrated", batches=4, dataset=few
    )
    one = recalibration.keep(run, run.folder, found)
    two = recalibration.keep(run, run.folder, found)
    assert [one.name, two.name] == [f"25-{variant}.recalibrated-{k}" for k in (1, 2)]
    again = open_run(run.folder)
    assert again.checkpoints(variant) == [20, 25]  # the run's own list stays as it was
    assert recalibration.kept(again.folder, variant) == [one, two]
    loaded = recalibration.kept_statistics(again, again.folder, one)
    for name, both in found.statistics.items():
        for ours, theirs in zip(loaded[name], both, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    state = load_file(run.folder / "checkpoints" / f"{one.name}.safetensors")
    before = run.checkpoint(25, variant)
    assert state.keys() == before.keys()
    moved = {name for name in state if not np.array_equal(state[name], before[name])}
    assert moved and all("running" in name for name in moved)
    assert one.name.encode() in export_run(run.folder)
    recalibration.drop(run.folder, one.name)
    assert recalibration.kept(run.folder, variant) == [two]
    with pytest.raises(RunError, match="cannot be read"):
        recalibration.kept_statistics(run, run.folder, one)


def test_the_recorded_run_and_a_run_without_a_folder_keep_nothing(short_run, few):
    found = recalibration.recalibrate_checkpoint(
        short_run, "builtin", 25, "recalibrated", batches=1, dataset=few
    )
    before = sorted(RECORDED_FOLDER.rglob("*"))
    with pytest.raises(RunError, match="belongs to the package"):
        recalibration.keep(recorded_run(), RECORDED_FOLDER, found)
    assert sorted(RECORDED_FOLDER.rglob("*")) == before
    with pytest.raises(RunError, match="is not stored"):
        recalibration.keep(short_run, None, found)


def test_bad_input_is_refused_by_name(short_run, few):
    with pytest.raises(ConfigError, match="method: got 'prayed'; allowed: recalibrated"):
        recalibration.recalibrate_checkpoint(short_run, "builtin", 25, "prayed", dataset=few)
    with pytest.raises(ConfigError, match="weight: got 2; allowed: 0 to 1"):
        recalibration.recalibrate_checkpoint(
            short_run, "builtin", 25, "blended", weight=2, dataset=few
        )
    with pytest.raises(ConfigError, match="batches: got 999"):
        recalibration.recalibrate_checkpoint(
            short_run, "builtin", 25, "recalibrated", batches=999, dataset=few
        )
    with pytest.raises(RunError, match="cannot be read"):
        recalibration.recalibrate_checkpoint(short_run, "builtin", 7, "recalibrated", dataset=few)


def test_a_damaged_file_among_the_kept_is_left_out(short_run, few):
    found = recalibration.recalibrate_checkpoint(
        short_run, "builtin", 25, "recalibrated", batches=1, dataset=few
    )
    one = recalibration.keep(short_run, short_run.folder, dataclasses.replace(found))
    (short_run.folder / "checkpoints" / "25-builtin.recalibrated-7.safetensors").write_bytes(b"x")
    assert recalibration.kept(short_run.folder, "builtin") == [one]
