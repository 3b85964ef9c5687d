import pytest
import torch

from bnviz.census.chain import chain
from bnviz.census.graph_census import detach_statistics, watch
from bnviz.nn import LeNet
from tests.census.test_census import STATISTICS_BYTES, allocator_bytes


@pytest.fixture
def watched():
    """The note's network after five test batches of four images, and its census."""
    model = LeNet("note", momentum=0.9)
    with watch(model) as census:
        for _ in range(5):
            model(torch.rand(4, 1, 28, 28))
            census.update()
    return model, census


@pytest.mark.parametrize("batch", [1, 2, 4, -1])
def test_the_last_statistic_reaches_what_the_batch_keeps(watched, batch):
    """From fc2's mean and variance together all of a batch is reached, and nothing of another."""
    model, census = watched
    layer = model.norm_layers()["fc2"]
    chains = [
        chain(census, getattr(layer, name), batch) for name in ("running_mean", "running_var")
    ]
    numbers = set(chains[0].nodes["number"]) | set(chains[1].nodes["number"])
    part = census.batches[batch]
    assert all(part.start <= number < part.stop for number in numbers)
    others = sum(
        len(chain(census, getattr(model.norm_layers()[name], statistic), batch).nodes) == 0
        for name in ("conv1", "conv2", "fc1")
        for statistic in ("running_mean", "running_var")
    )
    assert others == 0
    # What only the earlier layers' own averages add: 2 sums, 4 products in each of three layers.
    assert part.nodes - len(numbers) == 3 * 2 * 3
    assert chains[1].nodes["bytes"].sum() == pytest.approx(part.bytes, rel=0.001)


def test_each_chain_leads_on_to_the_batch_before(watched):
    model, census = watched
    mean = model.norm_layers()["conv1"].running_mean
    assert len(chain(census, mean, 0).older) == 0
    for batch in (1, 4):
        found = chain(census, mean, batch)
        [number] = found.older
        assert found.nodes.set_index("number").loc[number, "operation"] == "MulBackward0"


def test_edges_go_from_a_node_to_one_that_was_made_before_it(watched):
    model, census = watched
    found = chain(census, model.norm_layers()["conv2"].running_var, 3)
    numbers = set(found.nodes["number"])
    assert (found.edges["node"] > found.edges["input"]).all()
    assert set(found.edges["node"]) | set(found.edges["input"]) == numbers


def test_a_node_says_what_it_saved(watched):
    model, census = watched
    nodes = chain(census, model.norm_layers()["conv1"].running_var, 1).nodes
    [power] = nodes[nodes["operation"] == "PowBackward0"].to_dict("records")
    assert power["layer"] == "conv.1"
    assert power["bytes"] == 4 * 4 * 6 * 24 * 24
    assert power["saved"] == "self (4, 6, 24, 24), 55,296 B"


def test_looking_keeps_nothing_alive():
    model, images = LeNet("note", momentum=0.9), torch.rand(4, 1, 28, 28)
    model(images)
    detach_statistics(model)

    def grow_look_and_cut():
        with watch(model) as census:
            model(images)
            census.update()
        layer = model.norm_layers()["fc1"]
        assert len(chain(census, layer.running_var, 0).nodes) > 20
        del layer
        detach_statistics(model)

    assert allocator_bytes(grow_look_and_cut) == pytest.approx(0, abs=STATISTICS_BYTES)


def test_a_statistic_without_a_graph_has_no_chain(watched):
    model, census = watched
    detach_statistics(model)
    found = chain(census, model.norm_layers()["fc1"].running_var, 2)
    assert (len(found.nodes), len(found.edges), found.older) == (0, 0, [])
    with pytest.raises(IndexError):
        chain(census, model.norm_layers()["fc1"].running_var, 99)
