"""Cells by hand: against torch in float64, and against the other norms of torch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from bnviz.errors import ConfigError
from bnviz.subjects.anatomy.batchnorm_steps import (
    SCHEMES,
    autograd_gradients,
    backward,
    constant_channels,
    forward,
    groups,
    normalize_over,
    torch_refusal,
)

FLAT = st.tuples(st.integers(2, 4), st.integers(1, 4))
SPATIAL = st.tuples(st.integers(2, 4), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))
SHAPES = [(4, 3), (2, 1), (1, 3, 2, 2), (3, 4, 2, 1), (4, 4, 4, 4)]


def drawn(shape, seed=0):
    """Cells of channels in different units, gamma, beta and a gradient."""
    rng = np.random.default_rng(seed)
    along = (-1, *[1] * (len(shape) - 2))
    x = rng.normal(size=shape) * np.arange(1, shape[1] + 1).reshape(along) + 5
    return x, rng.normal(size=shape[1]), rng.normal(size=shape[1]), rng.normal(size=shape)


@settings(deadline=None, max_examples=40)
@given(FLAT | SPATIAL, st.integers(0, 1000), st.sampled_from([1e-8, 1e-5, 1e-2, 1.0]))
def test_every_gradient_is_autograd_s(shape, seed, eps):
    x, gamma, beta, grad = drawn(shape, seed)
    done = forward(x, gamma, beta, eps)
    back, theirs = backward(done, grad), autograd_gradients(x, gamma, beta, eps, grad)
    near = {"rtol": 1e-7, "atol": 1e-7 * np.abs(back.through_x_hat).max()}
    np.testing.assert_allclose(done.y, theirs.y, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(back.dx, theirs.dx, **near)
    np.testing.assert_allclose(back.closed, theirs.dx, **near)
    np.testing.assert_allclose(back.dgamma, theirs.dgamma, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(back.dbeta, theirs.dbeta, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_intermediate_gradients_are_autograd_s_of_the_written_out_graph(shape):
    x, gamma, beta, grad = drawn(shape)
    over = [d for d in range(len(shape)) if d != 1]
    along = (-1, *[1] * (len(shape) - 2))
    leaf = torch.tensor(x, requires_grad=True)
    mean = leaf.mean(over, keepdim=True)
    var = ((leaf - mean) ** 2).mean(over, keepdim=True)
    x_hat = (leaf - mean) / (var + 1e-3).sqrt()
    y = x_hat * torch.tensor(gamma).reshape(along) + torch.tensor(beta).reshape(along)
    dmean, dvar, dx_hat = torch.autograd.grad(y, (mean, var, x_hat), torch.tensor(grad))
    back = backward(forward(x, gamma, beta, 1e-3), grad)
    np.testing.assert_allclose(back.dx_hat, dx_hat, rtol=1e-10)
    np.testing.assert_allclose(back.dvar, dvar.flatten(), rtol=1e-8)
    np.testing.assert_allclose(back.dmean, dmean.flatten(), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_three_ways_add_up_and_reach_every_cell(shape):
    x, gamma, beta, _grad = drawn(shape)
    one = np.zeros(shape)
    one.flat[0] = 1
    back = backward(forward(x, gamma, beta, 1e-5), one)
    ways = back.through_x_hat + back.through_var + back.through_mean
    np.testing.assert_array_equal(back.dx, ways)
    assert np.count_nonzero(back.through_x_hat) == 1
    assert np.count_nonzero(back.through_mean) == x.size // shape[1]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_what_is_alike_in_a_channel_or_goes_along_x_hat_does_not_come_through(shape):
    x, gamma, beta, _grad = drawn(shape)
    done = forward(x, gamma, beta, 1e-12)
    for grad in (np.ones(shape), done.x_hat):
        back = backward(done, grad)
        assert np.abs(back.dx).max() <= 1e-9 * np.abs(back.through_x_hat).max()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_each_step_is_what_its_name_says(shape):
    x, gamma, beta, _grad = drawn(shape)
    done = forward(x, gamma, beta, 1e-3)
    for c in range(shape[1]):
        cells = x[:, c].ravel()
        assert done.mean[c] == pytest.approx(sum(cells) / len(cells))
        assert done.var[c] == pytest.approx(np.var(cells))
        assert done.rstd[c] == pytest.approx((np.var(cells) + 1e-3) ** -0.5)
        assert done.centred[:, c].sum() == pytest.approx(0, abs=1e-12)
    assert done.count == x.size // shape[1]


def torch_norm(x, scheme, count):
    """The same scheme by torch's own function."""
    t = torch.tensor(x)
    if scheme == "batch":
        return F.batch_norm(t, None, None, training=True, eps=1e-3)
    if scheme == "sample":
        return F.layer_norm(t, t.shape[1:], eps=1e-3)
    if scheme == "group":
        return F.group_norm(t, count, eps=1e-3)
    if scheme == "instance":  # of a single cell torch refuses; nothing is left of it
        return F.instance_norm(t, eps=1e-3) if t.dim() == 4 else torch.zeros_like(t)
    if scheme == "all":
        return F.layer_norm(t, t.shape, eps=1e-3)
    return F.batch_norm(t.flatten(1), None, None, training=True, eps=1e-3).reshape(t.shape)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("shape", [(3, 4), (2, 4, 3, 2), (4, 2, 1, 4)], ids=str)
def test_each_scheme_is_the_norm_that_torch_calls_so(scheme, shape):
    x = drawn(shape)[0]
    found = normalize_over(x, groups(shape, scheme, 2), 1e-3)
    np.testing.assert_allclose(found, torch_norm(x, scheme, 2), rtol=1e-9, atol=1e-10)


def test_one_group_is_layer_norm_and_as_many_as_channels_is_instance_norm():
    shape = (3, 4, 2, 2)
    for count, same in ((1, "sample"), (4, "instance")):
        np.testing.assert_array_equal(groups(shape, "group", count), groups(shape, same))


def test_groups_are_counted_from_0_and_a_lone_cell_becomes_0():
    for scheme in SCHEMES:
        found = groups((3, 4, 2, 2), scheme)
        assert set(np.unique(found)) == set(range(found.max() + 1))
    x = drawn((3, 4))[0]
    assert not normalize_over(x, groups((3, 4), "instance"), 1e-5).any()


@pytest.mark.parametrize("shape", [(1, 3), (1, 2, 1, 1)], ids=str)
def test_one_value_per_channel_is_refused_in_torch_s_words_too(shape):
    with pytest.raises(ConfigError, match="Only one value per channel") as raised:
        forward(np.ones(shape), np.ones(shape[1]), np.zeros(shape[1]), 1e-5)
    assert f"got input size torch.Size({list(shape)})" in str(raised.value)
    with pytest.raises(ConfigError, match="torch refuses: Expected more than 1 value"):
        autograd_gradients(
            np.ones(shape), np.ones(shape[1]), np.ones(shape[1]), 1e-5, np.ones(shape)
        )
    assert torch_refusal((2, 3)) == ""


def test_a_constant_channel_is_named_and_its_output_is_beta():
    x = drawn((4, 3))[0]
    x[:, 1] = 7
    assert constant_channels(x) == [1]
    done = forward(x, np.ones(3), np.array([0, 2.0, 0]), 1e-5)
    assert done.y[:, 1].tolist() == [2, 2, 2, 2]
    assert done.rstd[1] == pytest.approx(1e-5**-0.5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"x": np.ones(3)}, "cells: got shape"),
        ({"x": np.full((2, 3), np.inf)}, "cells: allowed: finite"),
        ({"gamma": np.ones(2)}, "gamma: got shape"),
        ({"beta": np.full(3, np.nan)}, "beta: allowed: finite"),
        ({"eps": 0.0}, "eps: got 0.0"),
    ],
)
def test_bad_input_is_named(changes, said):
    good = {"x": np.eye(3)[:2], "gamma": np.ones(3), "beta": np.zeros(3), "eps": 1e-5}
    with pytest.raises(ConfigError, match=said):
        forward(**(good | changes))


def test_a_gradient_of_another_shape_and_an_impossible_scheme_are_refused():
    done = forward(drawn((4, 3))[0], np.ones(3), np.zeros(3), 1e-5)
    with pytest.raises(ConfigError, match=r"gradient: got shape \(3, 4\)"):
        backward(done, np.ones((3, 4)))
    for shape, scheme, count in (((4, 3), "group", 2), ((4, 3), "channel", 1), ((4,), "batch", 1)):
        with pytest.raises(ConfigError, match="allowed"):
            groups(shape, scheme, count)
