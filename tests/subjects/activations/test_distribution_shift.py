"""Distances and shapes of distributions given by quantiles."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bnviz.errors import ConfigError
from bnviz.subjects.activations.distribution_shift import drift, shape_of, wasserstein

samples = arrays(float, 24, elements=st.floats(-100, 100))


def earth_moved(one, other):
    """The area between both distribution functions, which is another way to the same distance."""
    places = np.sort(np.concatenate([one, other]))
    below = [
        np.searchsorted(np.sort(sample), places[:-1], "right") / len(sample)
        for sample in (one, other)
    ]
    return float(np.sum(np.abs(below[0] - below[1]) * np.diff(places)))


@given(samples, samples)
def test_the_distance_is_the_area_between_the_distribution_functions(one, other):
    found = wasserstein(np.sort(one), np.sort(other))
    assert found == pytest.approx(earth_moved(one, other), abs=1e-9)


@given(samples, st.floats(-50, 50))
def test_a_shift_is_as_far_as_it_shifts(values, shift):
    ordered = np.sort(values)
    assert wasserstein(ordered, ordered + shift) == pytest.approx(abs(shift), abs=1e-9)


def test_drift_compares_with_the_probe_before_and_with_the_last():
    quantiles = np.array([[0.0, 1, 2], [1, 2, 3], [4, 5, 6]])
    frame = drift(np.array([1, 10, 20]), quantiles)
    assert np.isnan(frame["moved"][0])
    assert frame["moved"][1:].tolist() == [1, 3]
    assert frame["to_last"].tolist() == [4, 3, 0]
    assert frame["spread"].tolist() == pytest.approx([np.std([0, 1, 2])] * 3)


def test_a_diverged_probe_ends_the_table():
    quantiles = np.array([[0.0, 1], [1, 2], [np.nan, np.inf]])
    assert drift(np.array([1, 2, 3]), quantiles)["step"].tolist() == [1, 2]
    assert drift(np.array([1]), quantiles[2:]).empty


def test_other_numbers_of_quantiles_and_holes_are_refused():
    with pytest.raises(ConfigError, match="got 2 and 3 of them"):
        wasserstein(np.zeros(2), np.zeros(3))
    with pytest.raises(ConfigError, match="NaN or inf"):
        wasserstein(np.zeros(2), np.array([0, np.nan]))


def test_moments_of_a_large_sample_are_those_of_its_distribution():
    rng = np.random.default_rng(0)
    gamma = shape_of(np.sort(rng.gamma(4.0, size=400_000)))
    assert gamma["mean"] == pytest.approx(4, rel=0.01)
    assert gamma["std"] == pytest.approx(2, rel=0.01)
    assert gamma["skew"] == pytest.approx(1, rel=0.03)  # 2 / sqrt(4)
    assert gamma["kurtosis"] == pytest.approx(1.5, rel=0.1)  # 6 / 4
    assert shape_of(np.ones(8)) == {"mean": 1, "std": 0, "skew": 0, "kurtosis": 0}


def test_saturated_is_where_hardly_a_gradient_passes():
    x = np.linspace(-12, 12, 2401)
    y = 1 / (1 + np.exp(-x))
    slope = np.gradient(y, x)
    by_slope = (slope < 0.01 * slope.max()).mean()
    assert shape_of(y, "sigmoid")["saturated"] == pytest.approx(by_slope, abs=2e-3)
    assert shape_of(np.array([0.0, 0, 1, 2]), "relu")["saturated"] == 0.5
    assert "saturated" not in shape_of(y)


def test_a_run_that_is_about_to_diverge_has_a_spread():
    """Squares of numbers near the end of float32 once overflowed, which stopped the page in tests."""
    quantiles = np.array([[-1e30, 0, 1e30]], dtype=np.float32)
    [row] = drift(np.array([1]), quantiles).to_dict("records")
    assert row["spread"] == pytest.approx(1e30 * np.sqrt(2 / 3))
