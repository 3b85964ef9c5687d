import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnviz.config import RunConfig
from bnviz.nn import LeNet
from bnviz.train.history import History
from bnviz.train.reading import (
    accuracy_curves,
    density,
    latest_step,
    loss_curve,
    memory_curves,
    own_statistics,
    replay_layer,
    replayed_statistics,
    stage_quantiles,
    stage_range,
    unbiasing,
    values_per_channel,
)
from bnviz.train.schema import CHANNELS, LAYERS, LEVELS, STAGES, layer_slice, schemas, steps_table
from bnviz.train.store import recorded_run


def history_of_losses(losses):
    history = History(schemas(("builtin",)))
    count, zeros = len(losses), np.zeros((len(losses), CHANNELS))
    history[steps_table("builtin")].extend(
        step=np.arange(1, count + 1), loss=np.array(losses), ms=np.ones(count), batch_mean=zeros,
        batch_var=zeros, running_mean=zeros, running_var=zeros,
    )  # fmt: skip
    return history


@given(st.lists(st.floats(0, 10), min_size=1, max_size=400), st.integers(1, 50))
@settings(max_examples=60, deadline=None)
def test_a_thinned_loss_keeps_its_extremes_and_its_mean(losses, points):
    curve = loss_curve(history_of_losses(losses), "builtin", points)
    assert len(curve) <= points
    assert curve["low"].min() == min(losses)
    assert curve["high"].max() == max(losses)
    width = -(-len(losses) // points)
    counts = np.diff(np.append(np.arange(0, len(losses), width), len(losses)))
    assert np.average(curve["mean"], weights=counts) == pytest.approx(np.mean(losses), abs=1e-9)


def test_empty_histories_have_empty_curves():
    history = History(schemas(("builtin",)))
    assert loss_curve(history, "builtin").empty
    assert memory_curves(history, "builtin").empty
    assert accuracy_curves(RunConfig(variants="builtin"), history).empty
    assert latest_step(history, "builtin") == 0
    assert stage_quantiles(RunConfig(), history, "builtin", "conv1") is None


def test_a_histogram_from_quantiles_is_that_of_the_values():
    values = np.random.default_rng(0).normal(1, 2, 100_000)
    edges = np.linspace(-8, 10, 37)
    expected = np.histogram(values, edges)[0] / len(values)
    found = density(np.quantile(values, LEVELS), edges)
    assert np.abs(found - expected).max() < 0.01
    assert found.sum() == pytest.approx(1, abs=0.01)


def test_a_spike_of_zeros_stays_in_its_bin():
    """Half of a ReLU's output is exactly 0: the histogram must not smear it."""
    values = np.concatenate([np.zeros(64), np.linspace(0.01, 1, 64)])
    edges = np.linspace(-0.5, 1, 16)
    found = density(values, edges)
    assert found[np.searchsorted(edges, 0.0) - 1 : np.searchsorted(edges, 0.0) + 1].sum() > 0.45
    assert density(np.zeros(128), edges).sum() == 1


def test_the_layers_of_the_record_are_those_of_the_network():
    channels = {name: layer.num_features for name, layer in LeNet("builtin").norm_layers().items()}
    assert channels == LAYERS
    assert layer_slice("conv2") == slice(6, 22)
    with pytest.raises(KeyError):
        layer_slice("conv3")


@pytest.mark.parametrize("variant", ["note", "composite", "builtin"])
def test_the_recorded_run_shows_what_bn_does(variant):
    run = recorded_run()
    step, stages = stage_quantiles(run.config, run.history, variant, "fc1")
    assert step == run.config.steps
    assert tuple(stages) == STAGES
    assert abs(stages["normalized"].mean()) < 0.05
    assert stages["normalized"].std() == pytest.approx(1, abs=0.05)
    assert stages["activation"].min() >= 0
    assert stages["activation"].max() <= 1


def test_looking_back_gives_the_last_probe_before():
    recorded = recorded_run()
    step, _stages = stage_quantiles(recorded.config, recorded.history, "builtin", "fc1", 57)
    assert step == 50


def test_the_range_of_an_axis_holds_every_probe_and_is_round():
    run = recorded_run()
    low, high = stage_range(run.config, run.history, "fc1", "input")
    for variant in run.config.variants:
        _step, stages = stage_quantiles(run.config, run.history, variant, "fc1")
        assert low <= stages["input"].min()
        assert high >= stages["input"].max()
    assert stage_range(run.config, run.history, "fc1", "activation") == (0, 1)


def test_replayed_statistics_of_the_recorded_run_are_its_own():
    run = recorded_run()
    table = run.history[steps_table("builtin")]
    found = replayed_statistics(run.config, run.history, "builtin", 0.1, run.config.steps)
    for name in LAYERS:
        where = layer_slice(name)
        np.testing.assert_allclose(
            found[name][1], table.column("running_var")[-1, where], rtol=1e-4
        )
    assert values_per_channel(run.config, "conv1") == 16 * 24 * 24


@pytest.mark.parametrize(("layer", "count"), [("conv1", 16 * 24 * 24), ("fc1", 16)])
def test_a_replay_divides_by_n_or_by_one_less_as_it_is_asked(layer, count):
    """At momentum 1 the running variance is that of the batch itself."""
    run = recorded_run()
    where = (run.config, run.history, "builtin", layer, 1.0)
    recorded = run.history[steps_table("builtin")].column("batch_var")[:, layer_slice(layer)]
    for unbiased, factor in ((False, 1), (True, count / (count - 1)), (None, count / (count - 1))):
        _steps, _means, variances = replay_layer(*where, unbiased=unbiased)
        np.testing.assert_allclose(variances, factor * recorded, rtol=1e-5)
    assert unbiasing(run.config, layer) == pytest.approx(count / (count - 1))
    # The note keeps the biased variance, and None is the layer's own way.
    own = replay_layer(run.config, run.history, "note", layer, 1.0)[2]
    biased = replay_layer(run.config, run.history, "note", layer, 1.0, unbiased=False)[2]
    np.testing.assert_array_equal(own, biased)


def test_the_own_statistics_of_a_step_are_its_row():
    run = recorded_run()
    table = run.history[steps_table("builtin")]
    mean, var = own_statistics(run.history, "builtin", "fc2", 100)
    np.testing.assert_array_equal(mean, table.column("running_mean")[99, layer_slice("fc2")])
    np.testing.assert_array_equal(var, table.column("running_var")[99, layer_slice("fc2")])
    last = own_statistics(run.history, "builtin", "fc2")
    np.testing.assert_array_equal(last[1], table.column("running_var")[-1, layer_slice("fc2")])
