import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnviz.config import RunConfig
from bnviz.nn import LeNet
from bnviz.records.history import History
from bnviz.records.reading import (
    accuracy_curves,
    density,
    latest_step,
    loss_curve,
    memory_curves,
    probe_steps,
    process_curve,
    stage_history,
    stage_moves,
    stage_quantiles,
    stage_range,
)
from bnviz.records.schema import CHANNELS, LAYERS, LEVELS, STAGES, layer_slice, schemas, steps_table
from bnviz.records.store import recorded_run
from bnviz.subjects.activations.distribution_shift import drift


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


PROCESS = schemas(("none",))["process"]


@pytest.mark.parametrize(
    ("schema", "own", "found"),
    [
        (PROCESS, [50, 60], {"own": [50, 60]}),
        (PROCESS, [-1, -1], {"rss": [100, 101]}),  # the system did not tell
        (PROCESS.before(), None, {"rss": [100, 101]}),  # stored by an earlier version
    ],
    ids=["own", "unknown", "earlier"],
)
def test_process_memory_is_its_own_where_it_was_recorded_and_else_called_rss(schema, own, found):
    history = History({"process": schema})
    extra = {} if own is None else {"own": own}
    history["process"].extend(
        step=[1, 2], rss=[100, 101], device_allocated=[0, 0], device_reserved=[0, 0], **extra
    )
    curve = process_curve(history)
    assert {name: curve[name].tolist() for name in ("own", "rss") if name in curve} == found
