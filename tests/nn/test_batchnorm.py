"""Both hand-written layers compute what torch's own layer computes."""

import pytest
import torch
from nn_layers import (
    each_kind,
    each_option,
    each_shape,
    forward_backward,
    make,
    needs_cuda,
    pair,
    random_input,
    reference,
)
from torch import nn
from torch.func import functional_call
from torch.testing import assert_close

F64 = torch.float64


@each_kind
@each_shape
@each_option
def test_agrees_with_torch_in_train_then_eval(kind, shape, options):
    ours, torchs = pair(kind, shape, dtype=F64, **options)
    for training in (True, True, False):
        ours.train(training), torchs.train(training)
        x, upstream = random_input(shape), torch.randn(shape, dtype=F64)
        assert_close(forward_backward(ours, x, upstream), forward_backward(torchs, x, upstream))
        assert_close(dict(ours.named_buffers()), dict(torchs.named_buffers()))


@each_kind
@each_shape
def test_normalizes_each_channel_by_its_own_values(kind, shape):
    """The second, plainer route: one channel at a time, as a list of numbers."""
    x = random_input(shape)
    y = make(kind, shape, dtype=F64, eps=1e-300)(x)
    for channel in range(shape[1]):
        values, out = x[:, channel].flatten(), y[:, channel].flatten()
        expected = (values - sum(values) / len(values)) / torch.std(values, correction=0)
        assert_close(out.detach(), expected)


@each_kind
@each_shape
def test_hands_over_the_statistics_of_a_train_batch(kind, shape):
    layer, x = make(kind, shape, dtype=F64), random_input(shape).requires_grad_()
    assert layer.batch_mean is None and layer.batch_var is None
    layer(x)
    rows = x.detach().transpose(0, 1).flatten(1)
    assert_close(layer.batch_mean, rows.mean(1))
    assert_close(layer.batch_var, rows.var(1, correction=0))
    assert not layer.batch_mean.requires_grad and not layer.batch_var.requires_grad
    before = layer.batch_mean.clone()
    layer.eval()(2 * x)
    assert_close(layer.batch_mean, before)


@each_kind
def test_an_untracked_layer_in_eval_mode_hands_nothing_over(kind):
    layer = make(kind, (4, 3), track_running_stats=False).eval()
    layer(torch.randn(4, 3))
    assert layer.batch_mean is None


@each_kind
@pytest.mark.parametrize("updates", [1, 10, 100])
def test_running_statistics_after_many_batches(kind, updates):
    """Against the weighted sum written out: 0.1 * 0.9 ** age, and 0.9 ** updates of the start."""
    layer = make(kind, (4, 2), dtype=F64)
    batches = random_input((updates, 4, 2))
    for batch in batches:
        layer(batch)
    weights = 0.1 * 0.9 ** torch.arange(updates - 1, -1, -1, dtype=F64)
    assert_close(layer.running_mean, weights @ batches.mean(1))
    assert_close(layer.running_var, weights @ batches.var(1, correction=1) + 0.9**updates)
    assert layer.num_batches_tracked == updates


@each_kind
def test_momentum_none_is_the_plain_average(kind):
    layer, batches = make(kind, (4, 2), dtype=F64, momentum=None), random_input((7, 4, 2))
    for batch in batches:
        layer(batch)
    assert_close(layer.running_mean, batches.mean((0, 1)))
    assert_close(layer.running_var, batches.var(1, correction=1).mean(0))


@each_kind
@pytest.mark.parametrize("shape", [(4, 3), (3, 3, 4), (3, 3, 2, 2)], ids=str)
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_gradients_of_first_and_second_order(kind, shape, training):
    layer = make(kind, shape, dtype=F64).train(training)
    inputs = [random_input(shape), torch.randn(3, dtype=F64), torch.randn(3, dtype=F64)]
    inputs = [tensor.requires_grad_() for tensor in inputs]

    def run(x, weight, bias):
        return functional_call(layer, {"weight": weight, "bias": bias}, x)

    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)


@each_kind
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("shape", [(16, 3), (4, 3, 9, 5)], ids=str)
@pytest.mark.parametrize("parameters", ["same", "float32"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_is_as_exact_as_the_dtype_allows(kind, dtype, parameters, shape, training):
    """Against torch's layer in float64, fed the same rounded numbers."""
    ours, exact = pair(kind, shape, dtype=dtype if parameters == "same" else torch.float32)
    exact.double()
    ours.load_state_dict(exact.state_dict()), exact.load_state_dict(ours.state_dict())
    ours.train(training), exact.train(training)
    x, upstream = random_input(shape, dtype), torch.randn(shape).to(dtype)
    got = forward_backward(ours, x, upstream)
    expected = forward_backward(exact, x.double(), upstream.double())
    assert got["y"].dtype == got["x"].dtype == dtype
    tolerance = 1e-5 if dtype == torch.float32 else 2 * torch.finfo(dtype).eps
    for name, value in got.items():
        assert_close(value.double(), expected[name], rtol=tolerance, atol=tolerance, msg=name)
    for name in ("running_mean", "running_var"):
        got_buffer, expected_buffer = getattr(ours, name), getattr(exact, name)
        assert_close(got_buffer.double(), expected_buffer, rtol=tolerance, atol=tolerance)


@each_kind
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_statistics_of_half_precision_are_float32(kind, dtype):
    """4,096 values around 300: their sum is no float16, their mean in bfloat16 is off by 1."""
    x = (torch.randn(4096, 2) + 300).to(dtype)
    layer = make(kind, x.shape, dtype=dtype)
    layer(x)
    assert layer.batch_mean.dtype == layer.batch_var.dtype == torch.float32
    assert_close(layer.batch_mean, x.double().mean(0).float())
    assert_close(layer.batch_var, x.double().var(0, correction=0).float())


@each_kind
def test_a_small_eps_counts_in_half_precision(kind):
    """1e-8 is 0 as a float16, and 1 / sqrt(0) would be infinite."""
    layer = make(kind, (4, 3), dtype=torch.float16, eps=1e-8).eval()
    layer.running_var.zero_()
    x = torch.full((4, 3), 0.01, dtype=torch.float16)
    assert_close(layer(x), torch.full_like(x, 100), rtol=2e-3, atol=0)


@each_kind
def test_far_from_zero_nothing_cancels(kind):
    """E[x^2] - E[x]^2 in float32 has an error of 6 here, where the variance is 1."""
    x = torch.randn(64, 3, 8, 8) + 1e4
    expected = reference(x.shape, dtype=F64)(x.double())
    assert_close(make(kind, x.shape)(x), expected.float(), rtol=0, atol=5e-3)


@each_kind
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize(
    "layout",
    [
        lambda x: x.to(memory_format=torch.channels_last),
        lambda x: x.permute(2, 3, 0, 1).contiguous().permute(2, 3, 0, 1),
        lambda x: x.repeat_interleave(2, dim=3)[..., ::2],
        lambda x: x[:1].expand(x.shape),
    ],
    ids=["channels_last", "permuted", "strided", "expanded"],
)
def test_memory_layout_does_not_matter(kind, layout, training):
    shape = (4, 3, 5, 6)
    ours, torchs = pair(kind, shape, dtype=F64)
    ours.train(training), torchs.train(training)
    x, upstream = layout(random_input(shape)), torch.randn(shape, dtype=F64)
    got, expected = forward_backward(ours, x, upstream), forward_backward(torchs, x, upstream)
    assert_close(got, expected)
    transposed = upstream.transpose(2, 3).contiguous().transpose(2, 3)
    assert_close(forward_backward(ours, x, transposed), forward_backward(torchs, x, transposed))


@each_kind
def test_channels_last_stays_channels_last(kind):
    x = torch.randn(4, 3, 5, 6).to(memory_format=torch.channels_last)
    assert make(kind, x.shape)(x).is_contiguous(memory_format=torch.channels_last)


@each_kind
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("shape", [(0, 3), (0, 3, 4), (0, 3, 4, 4), (2, 3, 0, 4)], ids=str)
def test_empty_batch_changes_nothing_but_the_count(kind, shape, training):
    ours, torchs = pair(kind, shape)
    ours.train(training), torchs.train(training)
    x = torch.zeros(shape)
    assert_close(forward_backward(ours, x, x), forward_backward(torchs, x, x))
    assert_close(dict(ours.named_buffers()), dict(torchs.named_buffers()))
    assert ours.batch_mean is None


@each_kind
def test_an_activation_may_work_in_place_on_the_output(kind):
    """An output that is a view made inside a custom function would refuse this."""
    shape = (4, 3, 5, 6)
    ours, torchs = pair(kind, shape, dtype=F64)
    x, upstream = random_input(shape), torch.randn(shape, dtype=F64)
    got = forward_backward(nn.Sequential(ours, nn.ReLU(inplace=True)), x, upstream)
    assert_close(got, forward_backward(nn.Sequential(torchs, nn.ReLU()), x, upstream))


@each_kind
@pytest.mark.parametrize("frozen", ["x", "weight", "bias", "all but bias"])
def test_gradients_only_where_they_are_wanted(kind, frozen):
    layer, x = make(kind, (4, 3), dtype=F64), random_input((4, 3)).requires_grad_()
    leaves = {"x": x, "weight": layer.weight, "bias": layer.bias}
    for name, leaf in leaves.items():
        leaf.requires_grad_(name == "bias" if frozen == "all but bias" else name != frozen)
    layer(x).square().sum().backward()
    assert all((leaf.grad is not None) == leaf.requires_grad for leaf in leaves.values())


@each_kind
def test_autocast_leaves_statistics_in_float32(kind):
    layer, x = make(kind, (64, 3, 8, 8)), torch.randn(64, 3, 8, 8) + 50
    with torch.autocast("cpu", torch.bfloat16):
        layer(x).sum().backward()
    assert_close(layer.batch_var, x.double().var((0, 2, 3), correction=0).float())


@pytest.mark.cuda
@needs_cuda
@each_kind
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("shape", [(16, 3), (4, 3, 9, 5)], ids=str)
def test_agrees_with_torch_on_cuda(kind, shape, dtype):
    parameters = dtype if dtype != torch.float16 else torch.float32
    ours, torchs = pair(kind, shape, device="cuda", dtype=parameters)
    x, upstream = random_input(shape, dtype).cuda(), torch.randn(shape).to("cuda", dtype)
    got, expected = forward_backward(ours, x, upstream), forward_backward(torchs, x, upstream)
    tolerance = max(4 * torch.finfo(dtype).eps, 1e-5 if dtype == torch.float32 else 1e-7)
    assert_close(got, expected, rtol=tolerance, atol=tolerance)
    assert_close(ours.state_dict(), torchs.state_dict())
