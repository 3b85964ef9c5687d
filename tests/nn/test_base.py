"""Construction, checkpoints and refusals are torch's; the class is not."""

import copy
import inspect

import pytest
import torch
from nn_layers import KINDS, each_kind, each_option, make, pair, random_input, reference
from torch import nn
from torch.func import functional_call
from torch.testing import assert_close

from bnviz.nn.base import BatchNormBase


@each_kind
@pytest.mark.parametrize("place", [0, 1], ids=["1d", "2d"])
def test_constructor_takes_what_torchs_takes(kind, place):
    def signature(cls):
        parameters = inspect.signature(cls).parameters.values()
        return [(p.name, p.kind, p.default) for p in parameters]

    torchs = (nn.BatchNorm1d, nn.BatchNorm2d)[place]
    assert signature(KINDS[kind][place]) == signature(torchs)


@each_kind
@each_option
def test_starts_and_prints_as_torchs(kind, options):
    ours, torchs = make(kind, (4, 3), **options), reference((4, 3), **options)
    assert ours.extra_repr() == torchs.extra_repr()
    assert_close(ours.state_dict(), torchs.state_dict(), rtol=0, atol=0)
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in torchs.named_parameters()]


@each_kind
def test_device_and_dtype_are_taken(kind):
    layer = make(kind, (4, 3), device="meta", dtype=torch.float64)
    tensors = layer.state_dict()
    assert all(tensor.is_meta for tensor in tensors.values())
    assert {name: t.dtype for name, t in tensors.items() if t.dtype != torch.float64} == {
        "num_batches_tracked": torch.int64
    }


REFUSED = {
    "1d, wrong dims": ((4, 3), {}, (4, 3, 2, 2), True),
    "2d, wrong dims": ((4, 3, 2, 2), {}, (4, 3), True),
    "no dims": ((4, 3), {}, (), False),
    "one value, flat": ((4, 3), {}, (1, 3), True),
    "one value, spatial": ((4, 3, 2, 2), {}, (1, 3, 1, 1), True),
    "one value, untracked eval": ((4, 3), {"track_running_stats": False}, (1, 3), False),
    "eps 0, train": ((4, 3), {"eps": 0.0}, (4, 3), True),
    "eps 0, untracked eval": ((4, 3), {"eps": 0.0, "track_running_stats": False}, (4, 3), False),
    "eps below 0, train": ((4, 3), {"eps": -1.0}, (4, 3), True),
    "eps below 0, eval": ((4, 3), {"eps": -1.0}, (4, 3), False),
    "channels, train": ((4, 3), {}, (4, 5), True),
    "channels, eval": ((4, 3), {}, (4, 5), False),
    "channels, untracked": ((4, 3), {"track_running_stats": False}, (4, 5), True),
    "one channel is not broadcast": ((4, 1), {}, (4, 5), True),
}


@each_kind
@pytest.mark.parametrize("case", REFUSED.values(), ids=list(REFUSED))
def test_refuses_what_torch_refuses_in_its_words(kind, case):
    shape, options, wrong, training = case
    errors, counts = [], []
    for layer in (make(kind, shape, **options), reference(shape, **options)):
        with pytest.raises((ValueError, RuntimeError)) as caught:
            layer.train(training)(torch.randn(wrong))
        errors.append((caught.type, str(caught.value)))
        counts.append(layer.num_batches_tracked)
    assert errors[0] == errors[1]
    assert counts[0] == counts[1]


@each_kind
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize(
    ("x", "parameters"),
    [("float32", "float64"), ("float64", "float32"), ("float32", "float16"), ("int64", "float32")],
)
def test_refuses_mixed_dtypes_as_torch_does(kind, x, parameters, training):
    ones = torch.ones(4, 3, dtype=getattr(torch, x))
    caught = []
    for layer in (make(kind, (4, 3)), reference((4, 3))):
        layer = layer.to(getattr(torch, parameters)).train(training)
        with pytest.raises(RuntimeError) as error:  # NotImplementedError is one too
            layer(ones)
        caught.append(error.type)
    assert caught[0] == caught[1]


@each_kind
def test_eps_0_is_fine_in_eval_mode(kind):
    ours, torchs = pair(kind, (4, 3), eps=0.0)
    x = torch.randn(4, 3)
    assert_close(ours.eval()(x), torchs.eval()(x))


@each_kind
def test_batches_are_counted_once_and_only_in_train_mode(kind):
    layer = make(kind, (4, 3))
    for training in (True, False, True, True):
        layer.train(training)(torch.randn(4, 3))
    assert layer.num_batches_tracked == 3
    layer.track_running_stats = False
    before = layer.running_mean.clone()
    layer(torch.randn(4, 3))
    assert layer.num_batches_tracked == 3
    assert torch.equal(layer.running_mean, before)


@each_kind
def test_running_statistics_stay_the_same_tensors(kind):
    """A CUDA graph or a shared-memory copy that holds them sees every update."""
    layer = make(kind, (4, 3))
    held = dict(layer.named_buffers())
    layer(random_input((4, 3), torch.float32))
    assert all(layer.get_buffer(name) is tensor for name, tensor in held.items())


@each_kind
def test_reset_forgets_batches_and_parameters(kind):
    layer = make(kind, (4, 3))
    fresh = copy.deepcopy(layer.state_dict())
    layer(random_input((4, 3), torch.float32))
    nn.init.constant_(layer.weight, 7.0)
    layer.reset_running_stats()
    assert layer.weight[0] == 7 and layer.running_mean[0] == 0
    layer.reset_parameters()
    assert_close(layer.state_dict(), fresh, rtol=0, atol=0)


@each_kind
@each_option
def test_checkpoints_go_both_ways(kind, options):
    ours, torchs = pair(kind, (4, 3), **options)
    ours(random_input((4, 3), torch.float32))
    back = reference((4, 3), **options)
    back.load_state_dict(ours.state_dict(), strict=True)
    assert_close(back.state_dict(), ours.state_dict(), rtol=0, atol=0)
    assert list(ours.state_dict()) == list(torchs.state_dict())
    assert ours.state_dict()._metadata == torchs.state_dict()._metadata


@each_kind
@pytest.mark.parametrize("version", [None, 1])
def test_a_checkpoint_from_before_the_count_is_read(kind, version):
    layer, old = make(kind, (4, 3)), reference((4, 3)).state_dict()
    layer(torch.randn(4, 3))
    del old["num_batches_tracked"]
    old._metadata[""]["version"] = version
    layer.load_state_dict(old, strict=True)
    assert layer.num_batches_tracked == 1 and layer.running_mean[0] == 0


@each_kind
def test_a_checkpoint_of_today_without_the_count_is_refused(kind):
    state = reference((4, 3)).state_dict()
    del state["num_batches_tracked"]
    with pytest.raises(RuntimeError, match="num_batches_tracked"):
        make(kind, (4, 3)).load_state_dict(state, strict=True)


@each_kind
def test_a_copy_goes_its_own_way(kind):
    layer, x = make(kind, (4, 3)), random_input((4, 3), torch.float32).requires_grad_()
    layer(x)
    copied = copy.deepcopy(layer)
    assert_close(copied.state_dict(), layer.state_dict(), rtol=0, atol=0)
    before = layer.running_mean.clone(), layer.batch_mean.clone()
    copied(x + 1)
    assert torch.equal(layer.running_mean, before[0]) and torch.equal(layer.batch_mean, before[1])
    assert not torch.equal(copied.running_mean, layer.running_mean)


@each_kind
def test_borrowed_buffers_take_the_update(kind):
    """How a model is evaluated in train mode without touching its running statistics."""
    layer = make(kind, (4, 3))
    before = copy.deepcopy(layer.state_dict())
    borrowed = {name: buffer.clone() for name, buffer in layer.named_buffers()}
    functional_call(layer, borrowed, random_input((4, 3), torch.float32))
    assert_close(layer.state_dict(), before, rtol=0, atol=0)
    assert borrowed["num_batches_tracked"] == 1 and borrowed["running_mean"][0] != 0


@each_kind
def test_to_moves_parameters_and_statistics(kind):
    layer = make(kind, (4, 3))
    layer(torch.randn(4, 3))
    layer.to(torch.float64)
    assert layer(random_input((4, 3))).dtype == torch.float64
    assert layer.running_var.dtype == layer.batch_var.dtype == torch.float64


@each_kind
def test_is_no_relative_of_torchs_layer(kind):
    net = nn.Sequential(make(kind, (4, 3)))
    assert isinstance(net[0], BatchNormBase)
    assert not isinstance(net[0], nn.modules.batchnorm._NormBase)
    assert nn.SyncBatchNorm.convert_sync_batchnorm(net)[0] is net[0]
