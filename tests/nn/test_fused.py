"""What the closed form is for: less memory, gradients that can be differentiated again."""

import pytest
import torch
from nn_layers import make, pair, random_input, reference, saved_bytes, saved_for_backward
from torch.nn import functional as F
from torch.testing import assert_close

from bnviz.nn import LeNet

LENET_SHAPES = [(16, 6, 24, 24), (16, 16, 8, 8), (16, 120), (16, 84)]


def test_saves_x_mean_rstd_and_gamma_and_nothing_else():
    layer, x = make("fused", (8, 3), dtype=torch.float64), random_input((8, 3)).requires_grad_()
    y = layer(x)
    saved_x, mean, rstd, gamma = saved_for_backward(lambda: layer(x))
    assert saved_x.data_ptr() == x.data_ptr()
    assert gamma.data_ptr() == layer.weight.data_ptr()
    assert_close(mean, x.detach().mean(0))
    assert_close(rstd, (x.detach().var(0, correction=0) + layer.eps).rsqrt())
    assert y.grad_fn is not None


def kept_by_each(shape, dtype, training):
    x = torch.randn(shape, dtype=dtype, requires_grad=True)
    layers = make("fused", shape, dtype=dtype), reference(shape, dtype=dtype)
    return [saved_bytes(lambda layer=layer: layer.train(training)(x)) for layer in layers]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", LENET_SHAPES, ids=str)
def test_keeps_no_more_bytes_than_torchs_layer(shape, dtype):
    fused, builtin = kept_by_each(shape, dtype, training=True)
    assert fused <= builtin


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", LENET_SHAPES, ids=str)
def test_keeps_no_more_bytes_in_eval_mode(shape, dtype):
    """In half precision its scale is a float32, some bytes a channel more than torch's."""
    fused, builtin = kept_by_each(shape, dtype, training=False)
    assert fused <= builtin + (0 if dtype == torch.float32 else 8 * shape[1])


@pytest.mark.parametrize("batch", [2, 16])
def test_a_whole_lenet_keeps_no_more_bytes_than_with_torchs_layer(batch):
    images, labels = torch.rand(batch, 1, 28, 28), torch.zeros(batch, dtype=torch.long)

    def kept(norm):
        model = LeNet(norm)
        return saved_bytes(lambda: F.cross_entropy(model(images), labels))

    assert kept("fused") <= kept("builtin") < kept("composite")


def test_second_derivatives_are_torchs():
    ours, torchs = pair("fused", (4, 3, 5, 6), dtype=torch.float64)
    x, direction = random_input((4, 3, 5, 6)), torch.randn(4, 3, 5, 6, dtype=torch.float64)

    def penalty(layer):
        leaf = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(layer(leaf), leaf, direction, create_graph=True)
        gradient.square().sum().backward()
        return leaf.grad, layer.weight.grad

    assert_close(penalty(ours), penalty(torchs))


def test_a_second_backward_through_freed_tensors_is_refused():
    x = torch.randn(4, 3, requires_grad=True)
    loss = make("fused", (4, 3))(x).sum()
    loss.backward()
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


def test_output_that_nobody_uses_costs_no_gradient():
    layer = make("fused", (4, 3))
    layer(torch.randn(4, 3, requires_grad=True))
    assert layer.weight.grad is None


def test_runs_without_gradients():
    ours, torchs = pair("fused", (4, 3))
    x = torch.randn(4, 3)
    with torch.no_grad():
        y = ours(x)
    assert not y.requires_grad
    assert_close(y, torchs(x).detach())
