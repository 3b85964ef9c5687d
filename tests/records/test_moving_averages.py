import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bnviz.errors import ConfigError
from bnviz.nn.state import statistics
from bnviz.records.moving_averages import (
    corrected,
    effective_window,
    ema_weights,
    half_life,
    noise,
    pooled,
    replay,
    settled,
    start_bias,
)
from bnviz.records.recorded_statistics import replay_layer, replayed_statistics
from bnviz.records.schema import LAYERS
from bnviz.training.trainer import Trainer

sequences = st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=60)


def by_hand(values, momentum, initial):
    """The recurrence, one step after the other."""
    running, out = initial, []
    for k, value in enumerate(values):
        weight = 1 / (k + 1) if momentum is None else momentum
        running = (1 - weight) * running + weight * value
        out.append(running)
    return out


@given(sequences, st.none() | st.floats(0, 1), st.floats(-10, 10))
@settings(max_examples=200, deadline=None)
def test_replay_is_the_recurrence(values, momentum, initial):
    column = np.array(values)[:, None]
    means, variances = replay(
        column, column**2, momentum=momentum, initial_mean=initial, initial_var=1.0
    )
    np.testing.assert_allclose(
        means[:, 0], by_hand(values, momentum, initial), rtol=1e-9, atol=1e-9
    )
    squares = [v * v for v in values]
    np.testing.assert_allclose(
        variances[:, 0], by_hand(squares, momentum, 1.0), rtol=1e-9, atol=1e-9
    )


@given(sequences, st.integers(0, 60), st.none() | st.floats(0.01, 1))
@settings(max_examples=100, deadline=None)
def test_a_replay_in_two_parts_is_the_whole(values, cut, momentum):
    column = np.array(values)[:, None]
    cut = min(cut, len(values) - 1) or 1
    whole, _ = replay(column, column, momentum=momentum)
    first, first_var = replay(column[:cut], column[:cut], momentum=momentum)
    if cut < len(values):
        second, _ = replay(
            column[cut:],
            column[cut:],
            momentum=momentum,
            initial_mean=first[-1],
            initial_var=first_var[-1],
            seen=cut,
        )
        first = np.vstack([first, second])
    np.testing.assert_allclose(first, whole, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("momentum", [0.9, 0.1, 0.01, None], ids=str)
@pytest.mark.parametrize("variant", ["composite", "fused", "builtin"])
def test_a_replay_at_the_runs_own_momentum_is_the_layers_own_buffers(
    short_config, sample, variant, momentum
):
    config = short_config(variants=variant, momentum=momentum, steps=60)
    with Trainer(config, sample) as trainer:
        while not trainer.done:
            trainer.step()
        trainer.flush()
    for name, layer in trainer.runs[variant].model.norm_layers().items():
        _steps, means, variances = replay_layer(config, trainer.history, variant, name, momentum)
        own_mean, own_var = statistics(layer)
        error = (torch.tensor(means[-1]) - own_mean).abs() / own_var.sqrt()
        assert error.max() < 1e-4
        torch.testing.assert_close(torch.tensor(variances[-1]), own_var.double(), rtol=1e-4, atol=0)


def test_the_notes_biased_statistics_from_zero_are_replayed_too(short_config, sample):
    config = short_config(variants="note", momentum=0.9, steps=15, eval_every=1000)
    with Trainer(config, sample) as trainer:
        while not trainer.done:
            trainer.step()
        trainer.flush()
        own = {k: statistics(m) for k, m in trainer.runs["note"].model.norm_layers().items()}
    found = replayed_statistics(config, trainer.history, "note", 0.9, 15)
    for name in LAYERS:
        torch.testing.assert_close(
            torch.tensor(found[name][1]).float(), own[name][1], rtol=1e-4, atol=1e-7
        )


def test_momentum_never_reaches_the_weights_and_replay_turns_one_run_into_another(
    short_config, sample
):
    """The heart of the slider: statistics do not feed back into training."""
    finished = {}
    for momentum in (0.1, 0.9):
        config = short_config(variants="builtin", momentum=momentum, steps=40)
        with Trainer(config, sample) as trainer:
            while not trainer.done:
                trainer.step()
            trainer.flush()
        finished[momentum] = (config, trainer)
    slow, fast = (finished[m][1].runs["builtin"].model for m in (0.1, 0.9))
    for one, other in zip(slow.parameters(), fast.parameters(), strict=True):
        assert torch.equal(one, other)
    config, trainer = finished[0.1]
    replayed = replayed_statistics(config, trainer.history, "builtin", 0.9, 40)
    for name, layer in fast.norm_layers().items():
        torch.testing.assert_close(
            torch.tensor(replayed[name][1]).float(), layer.running_var, rtol=1e-4, atol=1e-7
        )


def test_replay_respects_a_change_in_mid_run(short_config, sample):
    config = short_config(variants="builtin", steps=40)
    with Trainer(config, sample) as trainer:
        while not trainer.done:
            if trainer.step_count == 17:
                trainer.set(momentum=0.7)
            trainer.step()
        trainer.flush()
        layer = trainer.runs["builtin"].model.norm_layers()["fc1"]
    schedule = np.array([0.1] * 17 + [0.7] * 23)
    _steps, means, _vars = replay_layer(config, trainer.history, "builtin", "fc1", schedule)
    torch.testing.assert_close(
        torch.tensor(means[-1]).float(), layer.running_mean, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("momentum", [-0.1, 1.1, float("nan")])
def test_a_weight_outside_0_to_1_is_refused(momentum):
    with pytest.raises(ConfigError, match=r"momentum.*0 to 1"):
        replay(np.ones((3, 2)), np.ones((3, 2)), momentum=momentum)


def test_ragged_arrays_are_refused():
    with pytest.raises(ConfigError, match="same shape"):
        replay(np.ones((3, 2)), np.ones((4, 2)), momentum=0.1)
    with pytest.raises(ConfigError, match="same shape"):
        replay(np.ones(3), np.ones(3), momentum=0.1)
    with pytest.raises(ConfigError, match=r"batch_vars.*array of numbers"):
        replay([[1, 2]], [[1, 2], [3]], momentum=0.1)
    with pytest.raises(ConfigError, match=r"momentum.*shape \(2,\).*\(3,\)"):
        replay(np.ones((3, 2)), np.ones((3, 2)), momentum=np.array([0.1, 0.2]))


@given(sequences, st.floats(0, 1), st.floats(-10, 10))
@settings(max_examples=100, deadline=None)
def test_the_old_convention_weighs_the_old_value(values, decay, initial):
    column = np.array(values)[:, None]
    means, _vars = replay(column, column, momentum=decay, initial_mean=initial, convention="old")
    running = initial
    for k, value in enumerate(values):
        running = decay * running + (1 - decay) * value
        np.testing.assert_allclose(means[k, 0], running, rtol=1e-9, atol=1e-9)


def test_the_old_convention_knows_schedules_and_the_cumulative_average():
    column = np.array([[1.0], [5.0], [3.0]])
    schedule = np.array([0.9, 0.2, 0.5])
    old = replay(column, column, momentum=schedule, convention="old")
    np.testing.assert_allclose(old, replay(column, column, momentum=1 - schedule))
    for convention in ("new", "old"):
        means, _vars = replay(column, column, momentum=None, convention=convention)
        np.testing.assert_allclose(means[:, 0], [1, 3, 3])


def test_another_convention_is_refused():
    with pytest.raises(ConfigError, match=r"convention: got 'keras'; allowed: new, old"):
        replay(np.ones((3, 2)), np.ones((3, 2)), momentum=0.1, convention="keras")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["batch_means", "batch_vars"])
def test_what_is_not_finite_is_refused_with_the_first_step_that_has_it(name, value):
    arrays = {"batch_means": np.ones((6, 3)), "batch_vars": np.ones((6, 3))}
    arrays[name][[3, 5], [2, 0]] = value
    with pytest.raises(ConfigError, match=rf"{name}: got {value} in channel 2 at step 4.*3 steps"):
        replay(**arrays, momentum=0.1)


@pytest.mark.parametrize("name", ["initial_mean", "initial_var"])
@pytest.mark.parametrize("value", [np.nan, np.ones(5)])
def test_initial_values_that_do_not_fit_are_refused(name, value):
    with pytest.raises(ConfigError, match=rf"{name}.*3 of them"):
        replay(np.ones((6, 3)), np.ones((6, 3)), momentum=0.1, **{name: value})


@given(
    st.lists(
        st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=9), min_size=1, max_size=9
    ).filter(lambda batches: sum(map(len, batches)) > 1)
)
@settings(max_examples=100, deadline=None)
def test_pooled_statistics_are_those_of_all_values_together(batches):
    mean, var = pooled(
        [len(b) for b in batches], [[np.mean(b)] for b in batches], [[np.var(b)] for b in batches]
    )
    together = np.concatenate(batches).astype(float)
    np.testing.assert_allclose(mean, together.mean(), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(var, together.var(ddof=1), rtol=1e-9, atol=1e-9)


momenta = st.sampled_from([0.0, 1.0]) | st.floats(1e-4, 1)


@given(momenta, st.integers(1, 40))
@settings(max_examples=100, deadline=None)
def test_weights_are_what_a_one_in_each_place_becomes(momentum, steps):
    """Brute force: a replay of a single 1 among zeros, for each place and for the start."""
    weights, left = ema_weights(momentum, steps)
    ones = np.eye(steps)[::-1]  # column k has its 1 k steps before the last
    found, _vars = replay(ones, ones, momentum=momentum)
    np.testing.assert_allclose(weights, found[-1], rtol=1e-9, atol=1e-12)
    start, _vars = replay(ones * 0, ones, momentum=momentum, initial_mean=1.0)
    assert left == pytest.approx(start[-1, 0], abs=1e-12)
    assert start_bias(momentum, steps) == left
    assert weights.sum() + left == pytest.approx(1)


@given(st.floats(0.01, 1))
@settings(max_examples=50, deadline=None)
def test_noise_is_the_sum_of_the_squared_weights(momentum):
    weights, _left = ema_weights(momentum, 4000)
    assert noise(momentum) == pytest.approx((weights**2).sum(), rel=1e-9)
    assert 1 / effective_window(momentum) == pytest.approx(noise(momentum))


def test_noise_and_window_of_numbers_known_by_heart():
    assert noise(0.1) == pytest.approx(1 / 19)
    assert effective_window(0.1) == pytest.approx(19)
    assert (noise(1.0), effective_window(1.0)) == (1, 1)
    assert (noise(0.0), effective_window(0.0)) == (0, math.inf)


@given(st.floats(1e-4, 0.999))
@settings(max_examples=100, deadline=None)
def test_after_a_half_life_half_is_left(momentum):
    assert (1 - momentum) ** half_life(momentum) == pytest.approx(0.5)


def test_half_lives_of_the_ends():
    assert half_life(0.5) == pytest.approx(1)
    assert (half_life(0.0), half_life(1.0)) == (math.inf, 0)


@given(st.floats(0.003, 1), st.floats(0.001, 0.999))
@settings(max_examples=100, deadline=None)
def test_settled_is_the_first_step_that_has_replaced_the_share(momentum, share):
    steps, left = 0, 1.0
    while left > (1 - share) * (1 + 1e-9):
        steps, left = steps + 1, left * (1 - momentum)
    assert settled(momentum, share) == steps


def test_settled_at_the_ends():
    assert settled(0.9) == 2  # 0.1 squared is 1 % left, a hair more in floating point
    assert settled(0.1) == 44
    assert (settled(0.0), settled(1.0)) == (math.inf, 1)
    assert (settled(0.0, 0.0), settled(0.3, 0.0)) == (0, 0)
    assert (settled(0.3, 1.0), settled(1.0, 1.0)) == (math.inf, 1)
    with pytest.raises(ConfigError, match=r"share: got 1.5.*0 to 1"):
        settled(0.1, 1.5)


@given(sequences, st.just(1.0) | st.floats(0.01, 1), st.floats(-10, 10))
@settings(max_examples=100, deadline=None)
def test_corrected_is_the_weighted_mean_of_the_batches_alone(values, momentum, initial):
    column = np.array(values)[:, None]
    means, _vars = replay(column, column, momentum=momentum, initial_mean=initial)
    expected = []
    for t in range(1, len(values) + 1):
        weights, _left = ema_weights(momentum, t)
        expected.append(np.average(values[:t][::-1], weights=weights))
    free = corrected(means, momentum, initial)
    np.testing.assert_allclose(free[:, 0], expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(corrected(means[:, 0], momentum, initial), free[:, 0])


def test_corrected_without_any_weight_of_a_batch_is_not_a_number():
    assert np.isnan(corrected(np.ones((4, 2)), 0.0, 1.0)).all()
    assert corrected(np.full(3, 1e-17), 1e-17)[0] == pytest.approx(1)


@pytest.mark.parametrize(
    "formula",
    [
        noise, effective_window, half_life, settled,
        lambda m: ema_weights(m, 3), lambda m: start_bias(m, 3), lambda m: corrected(np.ones(3), m),
    ],
)  # fmt: skip
@pytest.mark.parametrize("momentum", [-0.1, 1.1, float("nan")])
def test_closed_forms_refuse_a_weight_outside_0_to_1(formula, momentum):
    with pytest.raises(ConfigError, match=r"momentum: got .*0 to 1"):
        formula(momentum)
