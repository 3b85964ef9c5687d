"""Whatever a loop does between two looks, the incremental census says what a whole count says."""

import random

import pytest
import torch
from torch import nn

from bnviz.census.graph_census import GraphCensus, watch

STEPS = 25


class Leaks(nn.Module):
    """A layer that keeps a graph in a buffer and in an attribute, and detaches them now and then."""

    def __init__(self, chance: random.Random):
        super().__init__()
        self.chance = chance
        self.linear = nn.Linear(4, 4)
        self.register_buffer("running_mean", torch.zeros(4))
        self.total = torch.zeros(4)

    def forward(self, x):
        y = self.linear(x)
        if self.chance.random() < 0.5:
            self.running_mean = 0.9 * self.running_mean + y.mean(0)
        if self.chance.random() < 0.3:
            self.total = self.total + y.exp().sum(0)
        if self.chance.random() < 0.1:
            self.running_mean = self.running_mean.detach()
        if self.chance.random() < 0.1:
            self.total = self.total.detach()
        return y.sigmoid()


def step(chance, model, losses, named, weight, before):
    """A batch, and one of the things that loops do with what comes out; `before` is what came last."""
    outputs = model(torch.ones(chance.choice([2, 2, 2, 5]), 4))
    deed = chance.choice(["hold", "hold", "backward", "drop", "drop", "name", "forget", "late", ""])
    if deed == "hold":
        losses.append(outputs.sum())
    elif deed == "late" and before is not None:
        losses.append(before)
    elif deed == "backward":
        outputs.sum().backward()
    elif deed == "drop" and losses:
        losses.pop(chance.randrange(len(losses)))
    elif deed == "name":
        named["last"] = outputs * weight
    elif deed == "forget":
        named.clear()
    return outputs if deed != "backward" else None


def nodes_behind(*tensors):
    """How many nodes of a graph hang on these, leaves left out, by walking all of it."""
    left, found = [tensor.grad_fn for tensor in tensors], set()
    while left:
        node = left.pop()
        if (
            node is not None
            and node not in found
            and node.name() != "torch::autograd::AccumulateGrad"
        ):
            found.add(node)
            left += [function for function, _input in node.next_functions]
    return len(found)


@pytest.mark.parametrize("begin", [GraphCensus, watch], ids=["census", "watch"])
@pytest.mark.parametrize("seed", range(40))
def test_the_incremental_census_equals_a_whole_count(begin, seed):
    chance = random.Random(seed)
    model, losses, named = Leaks(chance), [], {}
    weight = torch.ones(4, requires_grad=True)
    held = model, losses, named
    seen, recounted, sizes, before = begin(*held), GraphCensus(*held), set(), None
    for _ in range(STEPS):
        before = step(chance, model, losses, named, weight, before)
        seen.update()
        recounted.recount()
        sizes.add(seen.bytes)
        assert (seen.nodes, seen.bytes) == (recounted.nodes, recounted.bytes)
        assert seen.nodes == nodes_behind(model.running_mean, model.total, *losses, *named.values())
    assert len(sizes) > 5
