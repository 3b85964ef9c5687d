import numpy as np
import pytest

from bnviz.config import RunConfig
from bnviz.nn.layers import WEIGHT_LAYERS
from bnviz.records.history import History
from bnviz.records.schema import LAYERS, LEVELS, SIDES, gradients_table, schemas
from bnviz.subjects.activations.recorded_gradients import (
    gradient_curves,
    gradient_norms,
    gradient_quantiles,
    gradient_range,
    size_shares,
)


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


def test_a_history_without_gradients_has_empty_curves():
    history = History(schemas(("builtin",)))
    assert gradient_quantiles(history, "builtin", "conv1") is None
    assert gradient_norms(history, "builtin").empty
    assert gradient_curves(history, "builtin", "out").empty
    assert gradient_range(RunConfig(variants="builtin"), history, "conv1") == (-8, 0)


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
