import pytest
import torch
from torch import nn

from bnviz.nn import LeNet
from bnviz.nn.state import snapshot
from bnviz.nn.variants import VARIANTS
from bnviz.subjects.modes.mode_table import FROZEN, KEPT, truth_table, truth_table_in

NORMALIZING = [name for name, variant in VARIANTS.items() if variant.normalizes]


@pytest.fixture
def x():
    return 3 + 2 * torch.randn(8, 6, 5, 5, generator=torch.Generator().manual_seed(0))


def layer_of(variant, x):
    layer = LeNet(variant).norm_layers()["conv1"].train()
    layer(x + 1)
    return layer


@pytest.mark.parametrize("variant", NORMALIZING)
def test_each_state_does_what_the_documentation_says(variant, x):
    layer = layer_of(variant, x)
    before, training = snapshot(layer), layer.training
    table = truth_table(layer, x)
    after = snapshot(layer)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert layer.training == training
    assert len(table) == (16 if variant == "note" else 32)
    for row in table.itertuples():
        batch = row.mode == "train" or "untracked" in row.kept
        assert row.normalizes == ("batch" if batch else "running")
        assert row.writes == (row.mode == "train" and row.kept == "tracked")
        assert row.weight_gradient == (row.frozen == "nothing")
        assert row.input_gradient == (row.frozen not in ("no_grad()", "both"))


def test_it_is_found_by_running_and_not_from_the_flags(x):
    """A layer that lies about itself: in eval mode it normalizes by the batch and writes."""

    class Liar(nn.BatchNorm2d):
        def forward(self, x):
            self.train()
            return super().forward(x)

    table = truth_table(Liar(6), x)
    tracked = table[table["kept"] == "tracked"]
    assert (tracked["normalizes"] == "batch").all()
    assert tracked["writes"].all()


def test_all_states_are_there_once(x):
    table = truth_table(nn.BatchNorm2d(6), x)
    assert not table.duplicated(["mode", "kept", "frozen"]).any()
    assert set(table["kept"]) == set(KEPT)
    assert set(table["frozen"]) == set(FROZEN)


def test_the_table_of_a_layer_in_its_network_is_that_of_what_enters_it():
    """Eval mode of fresh layers divides by sqrt(1 + eps): the input of conv1's norm is conv's output."""
    model = LeNet("builtin")
    images = torch.randint(0, 256, (8, 28, 28), dtype=torch.uint8)
    with torch.no_grad():
        entering = model.conv[0](images[:, None].float() / 255)
    expected = truth_table(model.norm_layers()["conv1"], entering)
    assert truth_table_in(model, "conv1", images).equals(expected)
    assert model.training


def test_a_pass_that_fails_leaves_the_network_as_it_was():
    """The hook stayed on the layer when the rest of the network could not take what it put out."""
    model = LeNet("builtin")
    with pytest.raises(RuntimeError):
        truth_table_in(model, "conv1", torch.zeros(8, 20, 20, dtype=torch.uint8))
    assert model.training
    assert not any("forward" in vars(module) for module in model.modules())
