import numpy as np
import pytest

from bnviz.config import RunConfig
from bnviz.records.history import History
from bnviz.records.recorded_statistics import (
    eps_at,
    own_statistics,
    replay_layer,
    replayed_statistics,
    unbiasing,
    values_per_channel,
)
from bnviz.records.schema import LAYERS, layer_slice, schemas, steps_table
from bnviz.records.store import StoredRun, recorded_run
from bnviz.training.run_view import RunView
from tests.paths import ROOT


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


def changed_run():
    """A run whose momentum was changed after steps 10 and 20, its eps after 20."""
    config = RunConfig(variants=("builtin",), momentum=0.1, eps=1e-5)
    history = History(schemas(config.variants))
    for step, name, new in ((10, "momentum", 0.9), (20, "momentum", 0.3), (20, "eps", 0.1)):
        history.events.append({"step": step, "kind": "set", "name": name, "new": new})
    return RunView("changed", StoredRun("changed", ROOT / "nowhere", config, history, None))


@pytest.mark.parametrize(
    ("step", "momentum", "eps"),
    [(1, 0.1, 1e-5), (10, 0.1, 1e-5), (11, 0.9, 1e-5), (20, 0.9, 1e-5), (21, 0.3, 0.1)],
)
def test_the_settings_of_a_step_are_those_it_was_made_with(step, momentum, eps):
    run = changed_run()
    assert run.settings_at(step) == {"lr": 0.01, "momentum": momentum, "eps": eps}
    assert eps_at(run.config, run.history, step) == eps


def test_one_line_says_what_a_setting_was_and_when_it_changed():
    """Each page once said something else of a run that was changed in mid-run."""
    run = changed_run()
    assert run.setting_words("lr") == "0.01"
    assert run.setting_words("momentum") == "0.1 (0.9 after step 10; 0.3 after step 20)"
    assert (
        "momentum 0.1 (0.9 after step 10; 0.3 after step 20), eps 1e-05 (0.1 after"
        in run.settings()
    )
    for step in range(30, 60, 10):
        run.history.events.append({"step": step, "kind": "set", "name": "momentum", "new": 0.5})
    assert run.setting_words("momentum").startswith("0.1 (2 changes; 0.5 after step 30;")
