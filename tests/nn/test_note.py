"""The note's layer: without its oddities it is torch's; each of them has a visible effect."""

import copy
from itertools import pairwise

import pytest
import torch
from nn_layers import forward_backward, random_input, reference
from torch.func import functional_call
from torch.testing import assert_close

from bnviz.nn import NoteBatchNorm

F64 = torch.float64
CORRECT = {
    "keep_graph": False,
    "zero_running_var": False,
    "conv_shift_one": False,
    "plain_attributes": False,
    "biased_running_var": False,
    "chained_mean": False,
}
FLAT, SPATIAL = (8, 3), (4, 3, 5, 6)
each_place = pytest.mark.parametrize("shape", [FLAT, SPATIAL], ids=["fc", "conv"])


def note(shape, **options):
    return NoteBatchNorm(shape[1], len(shape), dtype=F64, **options)


def graph_nodes(tensor):
    """Autograd nodes that `tensor` keeps alive."""
    seen, waiting = set(), [tensor.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [function for function, _ in node.next_functions]
    return len(seen)


@each_place
@pytest.mark.parametrize("momentum", [0.0, 0.1, 0.9, 1.0])
def test_without_oddities_it_is_torchs_layer(shape, momentum):
    ours = note(shape, momentum=momentum, **CORRECT)
    torchs = reference(shape, momentum=momentum, dtype=F64)
    for training in (True, True, False):
        ours.train(training), torchs.train(training)
        x, upstream = random_input(shape), torch.randn(shape, dtype=F64)
        got, expected = (forward_backward(layer, x, upstream) for layer in (ours, torchs))
        expected["gamma"], expected["beta"] = expected.pop("weight"), expected.pop("bias")
        assert_close(got, expected)
        assert_close(ours.running_mean.flatten(), torchs.running_mean)
        assert_close(ours.running_var.flatten(), torchs.running_var)


@each_place
@pytest.mark.parametrize("chained", [True, False], ids=["chained", "at once"])
def test_gradients(shape, chained):
    shape = (3, *shape[1:2], *[2] * (len(shape) - 2))
    layer = note(shape, chained_mean=chained)
    gamma, beta = torch.randn_like(layer.gamma), torch.randn_like(layer.beta)
    inputs = [t.detach().requires_grad_() for t in (random_input(shape), gamma, beta)]

    def run(x, gamma, beta):
        return functional_call(layer, {"gamma": gamma, "beta": beta}, x)

    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)


@each_place
def test_hands_over_detached_statistics_of_the_batch(shape):
    layer, x = note(shape), random_input(shape).requires_grad_()
    assert layer.batch_mean is None and layer.batch_var is None
    layer(x)
    rows = x.detach().transpose(0, 1).flatten(1)
    assert_close(layer.batch_mean, rows.mean(1))
    assert_close(layer.batch_var, rows.var(1, correction=0))
    assert layer.batch_mean.grad_fn is None and layer.batch_var.grad_fn is None


@each_place
def test_keep_graph_ties_every_batch_to_the_statistics(shape):
    layer = note(shape)
    sizes = []
    for _ in range(4):
        layer(random_input(shape).requires_grad_()).sum().backward()
        sizes.append((graph_nodes(layer.running_mean), graph_nodes(layer.running_var)))
    grown = [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(sizes)]
    assert grown[0] == grown[1] == grown[2]
    assert min(grown[0]) > 0
    free = note(shape, keep_graph=False)
    free(random_input(shape).requires_grad_())
    assert free.running_mean.grad_fn is None and free.running_var.grad_fn is None


def test_keep_graph_makes_a_copy_fail():
    layer = note(FLAT)
    layer(random_input(FLAT).requires_grad_())
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(layer)
    free = note(FLAT, keep_graph=False)
    free(random_input(FLAT).requires_grad_())
    assert_close(copy.deepcopy(free).running_mean, free.running_mean)


def test_a_variance_that_starts_at_0_multiplies_untrained_outputs_by_316():
    x = random_input(FLAT)
    assert_close(note(FLAT).eval()(x).detach(), x / 1e-5**0.5)
    assert_close(note(FLAT, zero_running_var=False).eval()(x).detach(), x / 1.00001**0.5)


@pytest.mark.parametrize(
    ("shape", "switch", "expected"), [(FLAT, True, 0), (SPATIAL, True, 1), (SPATIAL, False, 0)]
)
def test_shift_starts_at_1_in_convolutional_layers(shape, switch, expected):
    layer = note(shape, conv_shift_one=switch)
    assert_close(layer(random_input(shape)).mean(), torch.tensor(float(expected), dtype=F64))


@pytest.mark.parametrize("buffers", [False, True], ids=["attributes", "buffers"])
def test_plain_attributes_are_lost_on_the_way(buffers):
    layer = note(FLAT, plain_attributes=not buffers)
    names = {"running_mean", "running_var"}
    assert set(layer.state_dict()) == {"gamma", "beta"} | (names if buffers else set())
    layer.float()
    assert (layer.running_mean.dtype == torch.float32) == buffers


@pytest.mark.parametrize("biased", [False, True])
def test_biased_variance_is_averaged(biased):
    layer, x = note(FLAT, biased_running_var=biased), random_input(FLAT)
    layer(x)
    assert_close(layer.running_var[0], 0.9 * x.var(0, correction=int(not biased)))


def test_momentum_is_the_weight_of_the_new_batch():
    layer, x = note(FLAT, momentum=0.25), random_input(FLAT)
    layer(x), layer(x)
    assert_close(layer.running_mean[0], (0.25 + 0.75 * 0.25) * x.mean(0))
    assert note(FLAT).momentum == 0.9


def test_chained_mean_adds_graph_nodes_but_no_other_value():
    x = random_input(SPATIAL).requires_grad_()
    chained, at_once = note(SPATIAL), note(SPATIAL, chained_mean=False)
    assert_close(chained(x), at_once(x))
    assert graph_nodes(chained.running_mean) - graph_nodes(at_once.running_mean) == 2


@each_place
def test_one_value_per_channel_is_not_refused(shape):
    shape = (1, 3, *[1] * (len(shape) - 2))
    for biased in (False, True):
        layer = note(shape, biased_running_var=biased)
        y = layer(random_input(shape))
        assert_close(y, layer.beta.expand(shape))
        assert torch.equal(layer.running_var, torch.zeros_like(layer.gamma))


@pytest.mark.parametrize("dims", [0, 1, 3, 5])
def test_num_dims_other_than_2_and_4_are_refused(dims):
    with pytest.raises(ValueError, match=rf"num_dims: got {dims}; allowed: 2 .* 4"):
        NoteBatchNorm(3, dims)


def test_momentum_none_is_refused():
    with pytest.raises(ValueError, match="momentum: got None"):
        NoteBatchNorm(3, 2, momentum=None)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ((4, 3, 2, 2), r"expected 2D input \(got 4D input\)"),
        ((4, 1), r"expected 3 channels \(got 1\)"),
    ],
)
def test_wrong_inputs_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        note(FLAT)(torch.randn(wrong, dtype=F64))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_attributes_follow_the_first_input_to_its_device():
    layer = NoteBatchNorm(3, 2).cuda()
    assert layer.running_mean.device.type == "cpu"
    layer.eval()(torch.randn(4, 3, device="cuda"))
    assert layer.running_mean.device.type == layer.running_var.device.type == "cuda"
