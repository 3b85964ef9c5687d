import numpy as np
import pytest
import torch

from bnviz.errors import ConfigError
from bnviz.nn import LeNet
from bnviz.nn.state import snapshot, statistics
from bnviz.nn.variants import VARIANTS
from bnviz.subjects.modes.side_effects import PARTS, WAYS, equivalent_momentum, run_in_train_mode

NORMALIZING = [name for name, variant in VARIANTS.items() if variant.normalizes]


@pytest.fixture
def images(sample):
    return torch.tensor(sample.test_images[:64])


@pytest.mark.parametrize("variant", NORMALIZING)
@pytest.mark.parametrize("way", WAYS)
def test_statistics_move_as_often_as_the_forward_pass_runs(variant, way, images):
    model = LeNet(variant)
    before, gradients = snapshot(model), [p.grad for p in model.parameters()]
    moved = run_in_train_mode(model, images, way=way, batch_size=16, momentum=0.1)
    after = snapshot(model)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert [p.grad for p in model.parameters()] == gradients
    updates = {"plain": 1, "accumulated": PARTS, "checkpointed": 2}[way]
    assert moved.expected == pytest.approx(1 - 0.9**updates)
    assert moved.momentum == pytest.approx(moved.expected, abs=1e-5)


def test_plain_steps_are_those_of_a_loop_written_out(images):
    torch.manual_seed(0)
    model = LeNet("builtin")
    moved = run_in_train_mode(model, images, way="plain", batch_size=16, momentum=0.3)
    by_hand = LeNet("builtin")
    by_hand.load_state_dict(model.state_dict())
    for layer in by_hand.norm_layers().values():
        layer.momentum = 0.3
    with torch.no_grad():
        for batch in images.split(16):
            by_hand(batch[:, None].float() / 255)
    for name, layer in by_hand.norm_layers().items():
        for ours, theirs in zip(moved.statistics[name], statistics(layer), strict=True):
            np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-5, atol=1e-6)


def test_what_makes_up_for_more_updates_does():
    smaller = equivalent_momentum(0.1, 1 / 2)
    assert smaller == pytest.approx(1 - 0.9**0.5)
    assert equivalent_momentum(smaller, 2) == pytest.approx(0.1)


def test_bad_input_is_refused_by_name(images):
    model = LeNet("builtin")
    with pytest.raises(ConfigError, match="way: got 'twice'; allowed: plain"):
        run_in_train_mode(model, images, way="twice", batch_size=16, momentum=0.1)
    with pytest.raises(ConfigError, match="momentum: got 2; allowed: 0 to 1"):
        run_in_train_mode(model, images, way="plain", batch_size=16, momentum=2)
    with pytest.raises(ConfigError, match="batch_size: got 1 in train mode"):
        run_in_train_mode(model, images, way="accumulated", batch_size=4, momentum=0.1)
