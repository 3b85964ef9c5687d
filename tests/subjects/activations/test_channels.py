import numpy as np
import pytest
import torch

from bnviz.errors import ConfigError
from bnviz.evaluation.inference import to_input
from bnviz.evaluation.layer_stages import layer_stages
from bnviz.nn import LeNet
from bnviz.nn.state import snapshot
from bnviz.nn.variants import VARIANTS
from bnviz.records.schema import LAYERS, STAGES
from bnviz.subjects.activations.channels import (
    affine_of,
    channel_quantiles,
    channel_table,
    difference,
)
from bnviz.subjects.activations.distribution_shift import saturated_share


@pytest.fixture
def images(sample):
    return torch.tensor(sample.test_images[:40])


def built(variant, activation="sigmoid"):
    """A network whose statistics and affine parameters have moved."""
    model = LeNet(variant, activation)
    generator = torch.Generator().manual_seed(0)
    model.reset_parameters(generator)
    with torch.no_grad():
        for layer in model.norm_layers().values():
            for parameter in layer.parameters():
                parameter.add_(torch.rand(parameter.shape, generator=generator))
    for _ in range(3):
        model(torch.rand(16, 1, 28, 28, generator=generator))
    return model


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_stages_are_those_of_a_walk_through_the_network(images, variant, layer, mode):
    """The same network, module by module, by hand."""
    model = built(variant)
    found = layer_stages(model, images, layer, mode=mode)
    model.train(mode == "train")
    x, norm = to_input(images, torch.float32), model.norm_layers()[layer]
    with torch.no_grad():
        for part, after in ((model.conv, lambda v: v.flatten(1)), (model.fc, lambda v: v)):
            for module in part:
                if module is norm:
                    stages = {"input": x, "scaled": module(x), "activation": None}
                    stages["activation"] = torch.sigmoid(stages["scaled"])
                x = module(x)
            x = after(x)
    names = STAGES if VARIANTS[variant].normalizes else ("input", "activation")
    assert tuple(found) == names
    for name in set(names) & set(stages):
        np.testing.assert_allclose(found[name], stages[name].numpy(), atol=1e-5)
    if VARIANTS[variant].normalizes:
        weight, bias = affine_of(model, layer)
        shape = [1, -1] + [1] * (found["input"].ndim - 2)
        scaled = found["normalized"] * weight.reshape(shape) + bias.reshape(shape)
        np.testing.assert_allclose(found["scaled"], scaled, atol=1e-4)


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_looking_changes_nothing(images, variant, mode):
    model = built(variant)
    before, flags = snapshot(model), [m.training for m in model.modules()]
    random = torch.random.get_rng_state()
    layer_stages(model, images, "conv2", mode=mode)
    after = snapshot(model)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert [m.training for m in model.modules()] == flags
    assert not any("forward" in vars(m) for m in model.modules())
    assert torch.equal(torch.random.get_rng_state(), random)


def test_a_bad_question_is_refused_by_name(images):
    model = built("builtin")
    with pytest.raises(ConfigError, match="layer: got 'conv9'; allowed: conv1, conv2, fc1, fc2"):
        layer_stages(model, images, "conv9", mode="eval")
    with pytest.raises(ConfigError, match="mode: got 'test'; allowed: train, eval"):
        layer_stages(model, images, "conv1", mode="test")
    with pytest.raises(ConfigError, match="images: got 1 in train mode; allowed: 2 or more"):
        layer_stages(model, images[:1], "conv1", mode="train")


@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
def test_a_dead_channel_is_found_and_a_living_one_is_not(images, activation):
    model = built("builtin", activation)
    with torch.no_grad():
        model.conv[1].bias[2] = -200  # its sigmoid is 0 and its ReLU too
    stages = layer_stages(model, images, "conv1", mode="train")
    table = channel_table(stages, affine_of(model, "conv1"), activation)
    assert table.loc[table["dead"], "channel"].tolist() == [2]
    assert table.loc[2, "saturated"] == 1
    for channel in range(6):
        values = stages["input"][:, channel]
        assert table.loc[channel, "mean"] == pytest.approx(values.mean(), abs=1e-5)
        assert table.loc[channel, "std"] == pytest.approx(values.std(), rel=1e-4)
        assert table.loc[channel, "weight"] == model.conv[1].weight[channel].item()


def test_a_network_without_bn_has_no_weight_and_bias(images):
    model = built("none")
    stages = layer_stages(model, images, "fc2", mode="eval")
    table = channel_table(stages, affine_of(model, "fc2"), "sigmoid")
    assert table["weight"].isna().all() and len(table) == 84
    np.testing.assert_array_equal(table["out_mean"], table["mean"])


def test_the_edge_of_saturation_of_a_sigmoid():
    """Its derivative is y (1 - y), 1/4 at most; a hundredth of that is 0.0025."""
    x = np.linspace(-8, 8, 1601)
    y = 1 / (1 + np.exp(-x))
    slope = np.gradient(y, x)
    share = saturated_share(y[None], "sigmoid")[0]
    assert share == pytest.approx((slope < 0.01 * slope.max()).mean(), abs=0.002)


def test_quantiles_are_taken_channel_by_channel():
    values = np.arange(24.0).reshape(2, 3, 2, 2)
    found = channel_quantiles(values, np.array([0, 0.5, 1]))
    assert found.shape == (3, 3)
    expected = [sorted(v for batch in values for v in batch[c].ravel()) for c in range(3)]
    np.testing.assert_allclose(found[:, 0], [e[0] for e in expected])
    np.testing.assert_allclose(found[:, 1], [np.median(e) for e in expected])


def test_difference_is_in_standard_deviations_of_eval_mode():
    maps = np.random.default_rng(0).normal(0, 2, (3, 50, 50))
    moved = maps + np.array([0, 2, 4])[:, None, None]
    np.testing.assert_allclose(difference(moved, maps), [0, 1, 2], rtol=0.03)
    assert difference(moved * 0, maps * 0).tolist() == [0, 0, 0]
