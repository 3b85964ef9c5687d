import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnviz.analysis.drift import drift
from bnviz.config import RunConfig
from bnviz.nn import LeNet
from bnviz.train.history import History
from bnviz.train.reading import (
    accuracy_curves,
    density,
    gradient_curves,
    gradient_norms,
    gradient_quantiles,
    gradient_range,
    latest_step,
    loss_curve,
    memory_curves,
    own_statistics,
    probe_steps,
    replay_layer,
    replayed_statistics,
    size_shares,
    stage_history,
    stage_moves,
    stage_quantiles,
    stage_range,
    unbiasing,
    values_per_channel,
)
from bnviz.train.schema import (
    CHANNELS,
    LAYERS,
    LEVELS,
    SIDES,
    STAGES,
    WEIGHT_LAYERS,
    gradients_table,
    layer_slice,
    schemas,
    steps_table,
)
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
    assert gradient_quantiles(history, "builtin", "conv1") is None
    assert gradient_norms(history, "builtin").empty
    assert gradient_curves(history, "builtin", "out").empty
    assert gradient_range(RunConfig(variants="builtin"), history, "conv1") == (-8, 0)


def history_of_gradients(quantiles):
    """Probes at steps 10, 20, …; norms are 1, 2, … times the number of the layer from 1 to 5."""
    count = len(quantiles)
    history = History(schemas(("builtin",)))
    norms = np.outer(np.arange(1, count + 1), np.arange(1, 6))
    history[gradients_table("builtin")].extend(
        step=10 * np.arange(1, count + 1), quantiles=quantiles, grad_norm=norms,
        update_ratio=norms / 1000,
    )  # fmt: skip
    return history


def test_gradients_of_a_step_are_those_of_the_last_probe_before():
    quantiles = np.random.default_rng(0).normal(size=(40, len(LAYERS), len(SIDES), 128))
    history = history_of_gradients(quantiles)
    for step, at in ((1, 0), (10, 0), (39, 2), (40, 3), (None, 39)):
        found_at, found = gradient_quantiles(history, "builtin", "fc1", step)
        assert found_at == 10 * (at + 1)
        np.testing.assert_array_equal(found["output"], quantiles[at, 2, 0].astype("f4"))
        np.testing.assert_array_equal(found["input"], quantiles[at, 2, 1].astype("f4"))
        frame = gradient_norms(history, "builtin", step)
        assert frame["layer"].tolist() == list(WEIGHT_LAYERS)
        assert frame["grad_norm"].tolist() == [(at + 1) * k for k in range(1, 6)]


@pytest.mark.parametrize("count", [1, 150, 151, 4000])
def test_curves_of_norms_are_thinned_and_keep_the_newest(count):
    history = history_of_gradients(np.zeros((count, 4, 2, 128)))
    curve = gradient_curves(history, "builtin", "out")
    assert 1 <= len(curve) <= 150
    assert curve["step"].iloc[-1] == 10 * count
    np.testing.assert_allclose(curve["grad_norm"], curve["step"] / 10 * 5)
    np.testing.assert_allclose(curve["update_ratio"], curve["step"] / 10 * 5 / 1000, rtol=1e-6)


def test_sizes_in_bins_are_those_of_the_values_and_zeros_are_in_none():
    """As behind a maximum pooling: three quarters are exactly 0."""
    values = np.random.default_rng(0).normal(0, 1e-3, 100_000)
    values[:75_000] = 0
    edges = np.logspace(-6, -2, 13)
    expected = np.histogram(np.abs(values), edges)[0] / len(values)
    found = size_shares(np.quantile(values, LEVELS), edges)
    assert np.abs(found - expected).max() < 0.01
    assert found.sum() == pytest.approx(0.25, abs=0.01)


def test_the_range_of_sizes_holds_nearly_all_of_them_at_every_probe():
    rng = np.random.default_rng(0)
    scales = np.array([1e-3, 1e-7, 1e-9])[:, None, None, None]
    quantiles = np.sort(rng.normal(size=(3, 4, 2, 128)) * scales, axis=-1)
    quantiles[1, :, :, 10:90] = 0
    history = history_of_gradients(quantiles)
    low, high = gradient_range(RunConfig(variants="builtin"), history, "conv1")
    assert (low, high) == (-10, -2)
    sizes = np.abs(quantiles[:, 0])
    assert (sizes[sizes > 0] > 10.0**low).mean() > 0.9
    assert sizes.max() <= 10.0**high


def test_gradients_that_are_all_nothing_or_broken_have_a_range():
    quantiles = np.zeros((2, 4, 2, 128))
    quantiles[1] = np.nan
    history = history_of_gradients(quantiles)
    assert gradient_range(RunConfig(variants="builtin"), history, "conv1") == (-8, 0)


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


def probed(count, variants="builtin"):
    """A history with so many probes, one in ten steps, of random quantiles."""
    config = RunConfig(variants=variants)
    history = History(schemas(config.variants))
    rng = np.random.default_rng(0)
    for variant in config.variants:
        values = np.sort(rng.normal(size=(count, 4, 3, 128)), axis=-1).astype(np.float32)
        history[f"stages-{variant}"].extend(step=10 * np.arange(1, count + 1), quantiles=values)
    return config, history


def test_a_step_to_scrub_to_stays_there_while_the_run_grows():
    before = {10}
    for count in range(1, 400):
        steps = probe_steps(probed(count)[1], "builtin")
        assert steps[0] == 10 and steps[-1] == 10 * count and len(steps) <= 65
        kept = set(steps.tolist())
        gone = before - kept - {10 * (count - 1)}  # the newest of before may make room
        assert not gone or len(kept) < len(before), "only where thinning doubles"
        before = kept


@pytest.mark.parametrize("count", [1, 2, 64, 65, 200])
def test_a_move_is_from_the_probe_just_before_also_where_that_is_left_out(count):
    config, history = probed(count)
    where = (config, history, "builtin", "conv2", "input")
    steps, _quantiles = stage_history(*where)
    moved, earlier = stage_moves(*where)
    assert moved.tolist() == steps[1:].tolist()
    values = history["stages-builtin"].column("quantiles")[:, 1, 0]
    for step, quantiles in zip(moved, earlier, strict=True):
        np.testing.assert_array_equal(quantiles, values[step // 10 - 2])
    frame = drift(*stage_history(*where), stage_moves(*where))
    for row in frame.iloc[1:].itertuples():
        here, before = values[int(row.step) // 10 - 1], values[int(row.step) // 10 - 2]
        assert row.moved == pytest.approx(np.abs(here - before).mean(), rel=1e-5)


def test_one_diverged_probe_leaves_the_others_their_own_activations():
    config, history = probed(5)
    rows = history["stages-builtin"].column("quantiles")
    rows[:, :, 0] += 100  # what enters BN is far from what leaves it
    rows[3, :, 2] = np.nan
    steps, values = stage_history(config, history, "builtin", "conv1", "activation")
    assert steps.tolist() == [10, 20, 30, 50]
    np.testing.assert_allclose(values, 1 / (1 + np.exp(-rows[[0, 1, 2, 4], 0, 2])), rtol=1e-5)
    low, high = stage_range(config, history, "conv1", "scaled")
    assert -10 < low < high < 10
