import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bnviz.analysis.estimators import replay
from bnviz.errors import ConfigError
from bnviz.nn.state import statistics
from bnviz.train.reading import (
    RunningView,
    momentum_schedule,
    replay_layer,
    replayed_statistics,
)
from bnviz.train.schema import LAYERS, steps_table
from bnviz.train.trainer import Trainer

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
    steps = trainer.history[steps_table("builtin")].column("step")
    schedule = momentum_schedule(config, trainer.history, steps)
    assert schedule.tolist() == [0.1] * 17 + [0.7] * 23
    _steps, means, _vars = replay_layer(config, trainer.history, "builtin", "fc1", schedule)
    torch.testing.assert_close(
        torch.tensor(means[-1]).float(), layer.running_mean, rtol=1e-4, atol=1e-5
    )


def test_a_running_view_that_grows_equals_one_that_reads_all_at_once(short_config, sample):
    config = short_config(variants="builtin", steps=90)
    with Trainer(config, sample) as trainer:
        growing = RunningView(config, trainer.history, "builtin", "conv2", [3], 0.3)
        while not trainer.done:
            trainer.step()
            if trainer.step_count % 7 == 0:
                growing.update()
        trainer.flush()
    fresh = RunningView(config, trainer.history, "builtin", "conv2", [3], 0.3)
    one, other = growing.series(40), fresh.series(40)
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-6)
    assert one["step"][-1] == 90
    assert len(one["step"]) <= 40


@pytest.mark.parametrize("momentum", [-0.1, 1.1, float("nan")])
def test_a_weight_outside_0_to_1_is_refused(momentum):
    with pytest.raises(ConfigError, match=r"momentum.*0 to 1"):
        replay(np.ones((3, 2)), np.ones((3, 2)), momentum=momentum)


def test_ragged_arrays_are_refused():
    with pytest.raises(ConfigError, match="same shape"):
        replay(np.ones((3, 2)), np.ones((4, 2)), momentum=0.1)
