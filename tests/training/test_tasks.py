"""The thread that measures, and the race, by a second route."""

import threading
import time
from functools import partial

import numpy as np
import pytest
import torch

from bnviz.errors import RunError
from bnviz.evaluation.population import population_statistics
from bnviz.records.momentum_maps import COMPARED_MOMENTA
from bnviz.subjects.running_stats.estimator_comparison import (
    compare_estimators_over_run,
    errors_over_checkpoints,
)
from bnviz.training.checkpoints import model_at
from bnviz.training.tasks import Measurement, Measurements
from tests import waiting

until = partial(waiting.until, seconds=20)


def parts(gate, count=4):
    """Work that waits at each part until it may go on."""

    def work(progress):
        for done in range(count):
            progress(done, count)
            gate.acquire(timeout=20)
        return "found"

    return work


def test_a_measurement_says_how_far_it_is_and_how_long_it_will_take():
    gate = threading.Semaphore(0)
    measured = Measurement(parts(gate))
    until(lambda: measured.parts == 4)
    assert (measured.done, measured.seconds_left, measured.going_on) == (0, None, True)
    time.sleep(0.2)
    gate.release()
    until(lambda: measured.done == 1)
    assert 0.3 < measured.seconds_left < 2  # three parts of 0.2 s and a little
    gate.release(3)
    until(lambda: not measured.going_on)
    assert (measured.found, measured.error) == ("found", None)


def test_what_nobody_wants_ends_before_its_next_part_and_leaves_no_error():
    gate = threading.Semaphore(0)
    measured = Measurement(parts(gate))
    until(lambda: measured.parts == 4)
    measured.cancel()
    gate.release()
    measured.end()
    assert not measured.going_on
    assert (measured.found, measured.error, measured.done) == (None, None, 0)


@pytest.mark.parametrize(
    ("raised", "said"), [(RunError("Gone."), "Gone."), (OSError("full"), "OSError: full")]
)
def test_a_measurement_that_fails_says_why(raised, said, capsys):
    def work(_progress):
        raise raised

    measured = Measurement(work)
    until(lambda: not measured.going_on)
    assert (measured.error, measured.found) == (said, None)


def test_one_is_at_work_at_a_time_and_two_tabs_share_it():
    gate, all_of_them = threading.Semaphore(0), Measurements()
    first = all_of_them.begin("run", "race", work=parts(gate))
    assert all_of_them.begin("run", "race", work=parts(gate)) is first
    second = all_of_them.begin("run", "map", work=parts(gate, 1))
    until(lambda: first.parts == 4)
    assert second.waiting and second.going_on
    all_of_them.cancel("run", "race")
    assert not first.going_on
    gate.release(2)
    until(lambda: not second.going_on)
    assert (second.found, second.waiting) == ("found", False)
    again = all_of_them.begin("run", "map", work=parts(gate, 1))
    assert again is not second
    assert again.found == "found", "what was found before stays until there is something newer"
    all_of_them.cancel("run", "map")
    assert all_of_them.get("run", "map").found == "found"
    gate.release()
    all_of_them.end_all()


def test_one_that_waits_can_be_cancelled_and_all_end_together():
    gate, all_of_them = threading.Semaphore(0), Measurements()
    first = all_of_them.begin("a", work=parts(gate))
    second = all_of_them.begin("b", work=parts(gate))
    until(lambda: first.parts == 4)
    first.cancel()
    gate.release()
    all_of_them.end_all()
    assert not first.going_on and not second.going_on
    assert second.waiting


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


def test_the_race_tries_both_ways_of_measuring_a_population(short_run, few):
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
