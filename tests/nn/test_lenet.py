"""One network, every norm: same names, same shared weights."""

import pytest
import torch
from torch import nn

from bnviz.nn import VARIANTS, LeNet, NoteBatchNorm
from bnviz.nn.layers import LAYERS, POSITIONS, WEIGHT_LAYERS
from bnviz.nn.lenet import Halving

each_norm = pytest.mark.parametrize("norm", list(VARIANTS))


def shared_weights(model):
    return {
        f"{path}.{name}": parameter
        for path, layer in model.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
        for name, parameter in layer.named_parameters()
    }


def built_by_torch(seed, dtype=None):
    """The layers with weights, made by torch's constructors in the note's order."""
    torch.manual_seed(seed)
    return [
        nn.Conv2d(1, 6, 5, dtype=dtype),
        nn.Conv2d(6, 16, 5, dtype=dtype),
        nn.Linear(256, 120, dtype=dtype),
        nn.Linear(120, 84, dtype=dtype),
        nn.Linear(84, 10, dtype=dtype),
    ]


@each_norm
@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
def test_makes_logits_that_can_be_trained(norm, activation):
    model = LeNet(norm, activation)
    logits = model(torch.rand(4, 1, 28, 28))
    logits.square().sum().backward()
    assert logits.shape == (4, 10)
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert model.activation == activation


@each_norm
@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_weights_of_a_seed_are_torchs_own_whatever_the_norm(norm, seed, dtype):
    model = LeNet(norm, dtype=dtype)
    model.reset_parameters(torch.Generator().manual_seed(seed))
    expected = [p for layer in built_by_torch(seed, dtype) for p in layer.parameters()]
    got = list(shared_weights(model).values())
    assert len(got) == len(expected) == 10
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


def test_drawing_weights_leaves_the_global_generator_alone():
    model, before = LeNet(), torch.get_rng_state()
    model.reset_parameters(torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_module_names_are_the_same_for_every_norm():
    names = {key: [name for name, _ in LeNet(key).named_modules()] for key in VARIANTS}
    assert all(value == names["builtin"] for value in names.values())
    weights = {key: list(shared_weights(LeNet(key))) for key in VARIANTS}
    assert all(value == weights["builtin"] for value in weights.values())


@each_norm
def test_norm_layers_have_short_names_in_order(norm):
    model = LeNet(norm)
    layers = model.norm_layers()
    assert list(layers) == ["conv1", "conv2", "fc1", "fc2"]
    if norm == "none":
        assert all(isinstance(layer, nn.Identity) for layer in layers.values())
    else:
        assert [layer.num_features for layer in layers.values()] == [6, 16, 120, 84]
    ran = []
    for name, layer in layers.items():
        layer.register_forward_hook(lambda *_, name=name: ran.append(name))
    model(torch.rand(4, 1, 28, 28))
    assert ran == list(layers)


@pytest.mark.parametrize("norm", [key for key in VARIANTS if key != "none"])
def test_settings_reach_the_layers(norm):
    model = LeNet(norm, momentum=0.3, eps=1e-3, dtype=torch.float64)
    assert {(n.momentum, n.eps) for n in model.norm_layers().values()} == {(0.3, 1e-3)}
    assert {p.dtype for p in model.parameters()} == {torch.float64}


def test_options_reach_the_notes_layers():
    model = LeNet("note", norm_options={"keep_graph": False, "plain_attributes": False})
    for layer in model.norm_layers().values():
        assert isinstance(layer, NoteBatchNorm)
        assert not layer.keep_graph and "running_mean" in layer.state_dict()


@pytest.mark.parametrize("norm", [key for key in VARIANTS if key != "note"])
def test_options_of_another_norm_are_refused(norm):
    with pytest.raises(TypeError, match="keep_graph"):
        LeNet(norm, norm_options={"keep_graph": False})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("buildin",), r"norm: got 'buildin'; allowed: note, .*, none; did you mean 'builtin'\?"),
        (("xyz",), r"norm: got 'xyz'; allowed: note, composite, fused, builtin, none$"),
        (
            ("none", "Relu"),
            r"activation: got 'Relu'; allowed: sigmoid, relu; did you mean 'relu'\?",
        ),
    ],
)
def test_unknown_choices_are_refused_with_a_hint(arguments, message):
    with pytest.raises(ValueError, match=message):
        LeNet(*arguments)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_halving_is_torch_s_pooling_with_and_without_gradient(dtype):
    x = torch.randn(3, 2, 8, 6, generator=torch.Generator().manual_seed(0)).to(dtype)
    x[0, 0, 0, 0] = torch.nan
    x[1, 1, 2, 2] = torch.inf
    expected = nn.functional.max_pool2d(x, 2, 2)
    with torch.no_grad():
        torch.testing.assert_close(Halving()(x), expected, rtol=0, atol=0, equal_nan=True)
    wanted = x.clone().requires_grad_()
    Halving()(wanted).nansum().backward()
    other = x.clone().requires_grad_()
    nn.functional.max_pool2d(other, 2, 2).nansum().backward()
    assert torch.equal(wanted.grad, other.grad)


def test_the_table_of_layers_is_that_of_the_network():
    """Records read the table without torch; here it is compared with what goes through."""
    model, shapes = LeNet("none"), {}
    for name, layer in model.norm_layers().items():
        layer.register_forward_hook(lambda _m, x, _y, name=name: shapes.update({name: x[0].shape}))
    model(torch.zeros(2, 1, 28, 28))
    assert {name: shape[1] for name, shape in shapes.items()} == LAYERS
    assert {name: shape[2:].numel() for name, shape in shapes.items()} == POSITIONS
    weights = {name: len(layer.weight) for name, layer in model.weight_layers().items()}
    assert weights == {**LAYERS, "out": 10}
    assert tuple(weights) == WEIGHT_LAYERS
