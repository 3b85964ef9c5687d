"""Charts of running statistics read a run of any length in few points, and lose no extreme."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.extra.numpy import arrays

from bnviz.config import RunConfig
from bnviz.records.history import History
from bnviz.records.recorded_statistics import replay_layer
from bnviz.records.running_view import LINE_POINTS, Extremes, RunningView, Thinned, width_for
from bnviz.records.schema import schemas, steps_table
from bnviz.training.trainer import Trainer

COLUMNS = arrays(
    float, some.tuples(some.integers(1, 300), some.just(2)), elements=some.floats(-9, 9)
)


def in_parts(values, cuts):
    return np.split(values, sorted(cut % (len(values) + 1) for cut in cuts))


@given(COLUMNS, some.lists(some.integers(0, 300), max_size=8))
@settings(deadline=None)
def test_the_least_and_greatest_value_survive_any_thinning(values, cuts):
    at_once, growing = Extremes(4, 2), Extremes(4, 2)
    at_once.add(values)
    for part in in_parts(values, cuts):
        if len(part):
            growing.add(part)
    for channel in range(2):
        rows, found = at_once.points(channel)
        assert (np.diff(rows) > 0).all() and len(rows) <= 16
        np.testing.assert_array_equal(values[rows, channel], found)
        assert found.min() == values[:, channel].min()
        assert found.max() == values[:, channel].max()
        for one, other in zip(growing.points(channel), (rows, found), strict=True):
            np.testing.assert_array_equal(one, other)


@given(COLUMNS, some.lists(some.integers(0, 300), max_size=8))
@settings(deadline=None)
def test_lines_keep_even_steps_and_the_newest(values, cuts):
    at_once, growing = Thinned(5), Thinned(5)
    at_once.add(values)
    for part in in_parts(values, cuts):
        if len(part):
            growing.add(part)
    for thinned in (at_once, growing):
        rows = thinned.rows()
        assert rows[-1] == len(values) - 1 and len(rows) <= 11
        assert len(set(np.diff(rows)[:-1])) <= 1
        np.testing.assert_array_equal(thinned.values(), values[rows])
    np.testing.assert_array_equal(at_once.rows(), growing.rows())


def test_the_width_doubles_when_twice_the_points_are_full():
    assert [width_for(n, 5) for n in (1, 10, 11, 20, 21, 40, 41)] == [1, 1, 2, 2, 4, 4, 8]


def test_a_value_that_is_no_number_is_kept_only_where_there_is_no_other():
    extremes = Extremes(1, 1)
    extremes.add(np.array([[np.nan], [np.nan], [2.0], [np.nan]]))
    rows, found = extremes.points(0)
    assert rows.tolist() == [0, 2]
    np.testing.assert_array_equal(found, [np.nan, 2.0])


def test_one_wild_batch_of_a_long_run_is_drawn():
    config = RunConfig(variants="builtin", steps=20_000)
    history = History(schemas(config.variants))
    values = np.full((20_000, 226), 0.5, np.float32)
    values[12_345, 6] = 40  # the first channel of conv2
    history["steps-builtin"].extend(
        step=np.arange(1, 20_001), loss=np.ones(20_000), ms=np.ones(20_000), batch_mean=values,
        batch_var=values, running_mean=values, running_var=values,
    )  # fmt: skip
    [series] = RunningView(config, history, "builtin", "conv2", [0], [0.1]).series(0.1)
    assert series["batch_var"].max() == 40
    assert series["batch_var_step"][series["batch_var"].argmax()] == 12_346
    assert len(series["batch_var"]) <= 128
    assert LINE_POINTS <= len(series["step"]) <= 2 * LINE_POINTS + 1
    _steps, means, _vars = replay_layer(config, history, "builtin", "conv2", 0.1, [0])
    np.testing.assert_allclose(series["replay_mean"], means[series["step"] - 1, 0])
    assert len(series["recent_mean"]) == 100


def test_a_running_view_that_grows_equals_one_that_reads_all_at_once(short_config, sample):
    config = short_config(variants="builtin", steps=90)
    with Trainer(config, sample) as trainer:
        growing = RunningView(config, trainer.history, "builtin", "conv2", [3], [0.3])
        while not trainer.done:
            trainer.step()
            if trainer.step_count % 7 == 0:
                growing.update()
        trainer.flush()
    fresh = RunningView(config, trainer.history, "builtin", "conv2", [3], [0.3])
    [one], [other] = growing.series(0.3), fresh.series(0.3)
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-6)
    assert one["step"][-1] == 90


def test_a_running_view_goes_on_with_a_gap_where_the_statistics_are_no_numbers(
    short_config, sample
):
    config = short_config(variants="builtin,none", steps=8)
    with Trainer(config, sample) as trainer:
        view = RunningView(config, trainer.history, "builtin", "conv1", [0, 1], [0.1])
        while not trainer.done:
            trainer.step()
            trainer.flush()
            if trainer.step_count == 5:  # as a run that diverges leaves it
                trainer.history[steps_table("builtin")].column("batch_var")[4, 0] = np.nan
                view.update()
    fresh = RunningView(config, trainer.history, "builtin", "conv1", [0, 1], [0.1])
    for series in (view.series(0.1)[0], fresh.series(0.1)[0]):
        assert np.isfinite(series["replay_mean"]).tolist() == [True] * 4 + [False] * 4
        assert len(series["step"]) == 8
    without = RunningView(config, trainer.history, "none", "conv1", [0], [0.1])
    assert np.isnan(without.series(0.1)[0]["replay_mean"]).all()
