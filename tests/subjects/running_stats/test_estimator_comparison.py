"""Estimators compared in the same weights, by a second route."""

import numpy as np
import pytest
import torch

from bnviz.evaluation.population import population_statistics
from bnviz.records.momentum_maps import COMPARED_MOMENTA
from bnviz.subjects.running_stats.estimator_comparison import (
    compare_estimators_over_run,
    errors_over_checkpoints,
)
from bnviz.training.checkpoints import model_at


def accuracy(run, dataset, statistics):
    """Eval mode by torch alone."""
    model = model_at(run, "builtin", 25)
    for name, layer in model.norm_layers().items():
        layer.running_mean, layer.running_var = (
            torch.tensor(values, dtype=torch.float32) for values in statistics[name]
        )
    images = torch.tensor(dataset.test_images).float().div(255).unsqueeze(1)
    with torch.no_grad():
        predicted = model.eval()(images).argmax(1).numpy()
    return float((predicted == dataset.test_labels).mean())


def test_the_comparison_tries_both_ways_of_measuring_a_population(short_run, few):
    heard = []
    found = compare_estimators_over_run(
        short_run, "builtin", lambda done, parts, share=None: heard.append((done, parts)),
        dataset=few,
    )  # fmt: skip
    assert (found.step, found.images, list(found.population)) == (25, 300, [20, 25])
    assert set(found.accuracy) == {*COMPARED_MOMENTA, None, "own", "layer_by_layer", "one_pass"}
    images = torch.tensor(few.train_images)
    for how, batch in (("layer_by_layer", 300), ("one_pass", 16)):
        statistics = population_statistics(
            model_at(short_run, "builtin", 25), images, batch_size=batch, how=how
        )
        assert found.accuracy[how] == pytest.approx(accuracy(short_run, few, statistics))
    own = model_at(short_run, "builtin", 25).norm_layers()
    kept = {name: (layer.running_mean, layer.running_var) for name, layer in own.items()}
    kept = {name: tuple(v.numpy() for v in both) for name, both in kept.items()}
    assert found.accuracy["own"] == pytest.approx(accuracy(short_run, few, kept))
    assert heard[0] == (0, 17)
    assert max(heard) == (16, 17)
    assert heard == sorted(heard)


def test_errors_of_the_layers_own_line_are_those_of_the_checkpoint(short_run, few):
    measured = compare_estimators_over_run(short_run, "builtin", dataset=few)
    frame = errors_over_checkpoints(short_run, "builtin", "fc2", 0.1, measured)
    mean, var = measured.population[20]["fc2"]
    state = short_run.checkpoint(20, "builtin")
    [name] = [n for n in state if n.endswith("running_mean") and len(state[n]) == 84]
    off = np.sqrt((((state[name] - mean) / np.sqrt(var)) ** 2).mean())
    rows = frame[frame["step"] == 20].set_index("estimator")
    assert rows.loc["own", "mean_error"] == pytest.approx(off, rel=1e-4)
    assert rows.loc["ema", "mean_error"] == pytest.approx(off, rel=1e-3)
    assert rows.loc["average", "mean_error"] != pytest.approx(off, rel=1e-3)
    table = short_run.history["steps-builtin"]
    weights = 0.1 * 0.9 ** np.arange(19, -1, -1)
    batches = table.column("batch_mean", stop=20)[:, 142:].astype(float)
    free = (weights[:, None] * batches).sum(0) / weights.sum()
    off = np.sqrt((((free - mean) / np.sqrt(var)) ** 2).mean())
    assert rows.loc["corrected", "mean_error"] == pytest.approx(off, rel=1e-4)
    off = np.sqrt(((measured.one_pass[20]["fc2"][1] / var - 1) ** 2).mean())
    assert rows.loc["one_pass", "var_error"] == pytest.approx(off, rel=1e-4)


def test_a_channel_that_never_varies_has_no_error_of_its_own(short_run, few):
    measured = compare_estimators_over_run(short_run, "builtin", dataset=few)
    whole = errors_over_checkpoints(short_run, "builtin", "fc2", 0.1, measured)
    measured.population[20]["fc2"][1][5] = 0.0
    frame = errors_over_checkpoints(short_run, "builtin", "fc2", 0.1, measured)
    assert np.isfinite(frame[["mean_error", "var_error"]]).all(axis=None)
    assert frame["var_error"].iloc[0] != whole["var_error"].iloc[0]
