import numpy as np
import pytest

from bnviz.records.recorded_statistics import (
    own_statistics,
    replay_layer,
    replayed_statistics,
    unbiasing,
    values_per_channel,
)
from bnviz.records.schema import LAYERS, layer_slice, steps_table
from bnviz.records.store import recorded_run


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
