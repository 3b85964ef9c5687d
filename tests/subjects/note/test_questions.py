"""The three questions, measured."""

import pandas as pd
import pytest

from bnviz.errors import ConfigError
from bnviz.records.store import recorded_run
from bnviz.subjects.note import questions
from bnviz.subjects.note.questions import accuracy_by_batch_size, bytes_kept, estimator_accuracies
from bnviz.subjects.note.recorded import STEP, VARIANT, recorded_answers
from bnviz.training.checkpoints import accuracy_with
from bnviz.training.steps import build_model


@pytest.mark.parametrize("batch_size", [2, 16, 64])
def test_one_of_eight_ways_keeps_the_batch_in_proportion_to_its_size(sample, batch_size):
    """1,398,712 bytes at 16, as `torch.profiler` counts them, and the images of 3,136 bytes each."""
    frame = bytes_kept(batch_size, dataset=sample)
    assert len(frame) == 8
    [kept] = frame[frame["kept_bytes"] > 0].to_dict("records")
    assert kept["graph_kept"] and kept["train_mode"] and kept["with_grad"]
    assert kept["kept_bytes"] == pytest.approx(batch_size * (1_398_712 / 16 + 3136), rel=0.01)
    assert frame["kept_nodes"].gt(0).sum() == 1


def test_what_was_kept_is_freed(sample, monkeypatch):
    models = []

    def build(*arguments):
        models.append(build_model(*arguments))
        return models[-1]

    monkeypatch.setattr(questions, "build_model", build)
    bytes_kept(16, dataset=sample)
    assert len(models) == 8
    for model in models:
        assert all(layer.running_var.grad_fn is None for layer in model.norm_layers().values())


@pytest.mark.parametrize("batch_size", [1, 0, 300, 1000])
def test_a_batch_that_does_not_fit_is_refused(sample, batch_size):
    with pytest.raises(ConfigError, match=f"batch_size: got {batch_size}; allowed: 2 to 250"):
        bytes_kept(batch_size, dataset=sample)


def test_the_mean_of_all_batches_is_the_worst_and_the_population_the_best(dataset):
    """On the recorded run; the accuracies are those of the comparison of estimators on the same 10,000 images."""
    found = estimator_accuracies(recorded_run(), "builtin", 400).set_index("estimator")
    accuracy, error = found["accuracy"], found["standard_error"]
    assert accuracy.idxmin() == "none" and accuracy.idxmax() == "population"
    assert accuracy["0.1"] - accuracy["none"] > 0.3
    for name in ("0.9", "0.01"):
        whole = accuracy_with(recorded_run(), "builtin", 400, float(name))
        assert accuracy[name] == pytest.approx(whole, abs=4 * error[name])


@pytest.mark.parametrize("measure", [estimator_accuracies, accuracy_by_batch_size])
def test_what_is_shipped_is_what_the_recorded_run_gives(dataset, measure):
    """To two images of 2,000: another machine rounds otherwise."""
    shipped = getattr(recorded_answers(), measure.__name__)
    pd.testing.assert_frame_equal(
        shipped, measure(recorded_run(), VARIANT, STEP), check_dtype=False, atol=0.001, rtol=0
    )


def test_train_mode_is_worse_the_smaller_the_test_batch(dataset):
    frame = accuracy_by_batch_size(recorded_run(), "builtin", 400)
    assert frame["train"].is_monotonic_increasing
    assert frame["eval"].nunique() == 1
    assert (frame["eval"] - frame["train"]).iloc[1] > 0.05  # at batch 4, as the note's log has it
