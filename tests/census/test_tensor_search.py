"""What a census finds, and counts, wherever and by whatever it is held."""

import logging
import re
import threading
import warnings
from collections import deque
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from bnviz.census.graph import held_bytes, newer_nodes, saved_tensors, storages
from bnviz.census.graph_census import GraphCensus, census, detach_statistics, watch
from bnviz.nn import LeNet
from tests.census.note_network import images, note_model


def test_a_list_of_losses_is_found_and_named():
    """The usual leak of a training loop: `losses.append(loss)` instead of `loss.item()`."""
    model, losses = nn.Linear(4, 1), []
    assert census(model, losses).verdict() == "No graph is kept from batch to batch."
    losses.extend(model(torch.ones(8, 4)).square().mean() for _ in range(3))
    found = census(model, {"losses": losses})
    assert found.holders == ("losses.0", "losses.1", "losses.2")
    # Each keeps its input, which addmm saves, and the output, which pow saves: 8 x 4 and 8 x 1.
    assert found.bytes == 3 * 4 * (8 * 4 + 8)
    assert "losses.0" in found.verdict() and f"{found.bytes:,} bytes" in found.verdict()


def test_a_tensor_that_any_module_keeps_is_found():
    class Remembers(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(3, 3)
            self.last = None

        def forward(self, x):
            self.last = self.inner(x).exp()
            return self.last

    model = nn.Sequential(Remembers())
    with watch(model) as seen:
        model(torch.ones(5, 3))
        seen.update()
    assert seen.holders == ("0.last",)
    assert seen.bytes == 4 * (5 * 3) * 2, "the input and what exp gave"
    assert set(seen.table()["layer"]) == {"0.inner", ""}


def test_a_number_that_becomes_a_tensor_is_found():
    class Sums(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.total = nn.Linear(2, 1), 0.0

    model = Sums()
    seen = GraphCensus(model)
    seen.update()
    model.total = model.total + model.linear(torch.ones(1, 2)).sum()
    seen.update()
    assert seen.holders == ("total",)
    del model.total
    model.other = model.linear(torch.ones(1, 2))
    seen.update()
    assert seen.holders == ("other",)


class Tracker:
    def __init__(self, loss):
        self.loss = loss


@pytest.mark.parametrize(
    "hold",
    [
        lambda loss: [loss], lambda loss: deque([loss]), lambda loss: {loss}, Tracker,
        lambda loss: {"a": ({"b": loss},)}, lambda loss: loss, lambda loss: [Tracker(loss)],
        lambda loss: Tracker({"a": Tracker(loss)}), lambda loss: SimpleNamespace(a=loss),
    ],
    ids=["list", "deque", "set", "object", "nested", "itself", "objects", "deep", "namespace"],
)  # fmt: skip
def test_a_loss_is_found_wherever_it_is_held(hold):
    model = nn.Linear(2, 1)
    loss = model(torch.ones(3, 2)).square().sum()
    assert census(model, hold(loss)).bytes == 4 * (3 * 2 + 3)


@pytest.mark.parametrize(
    "hold", [lambda m: [m], lambda m: {"model": m}, Tracker, lambda m: {"a": [Tracker(m)]}],
    ids=["list", "dict", "object", "deep"],
)  # fmt: skip
def test_a_module_is_found_wherever_it_is_held_and_listened_to(hold):
    model = note_model()
    with watch(hold(model)) as seen:
        model(images(2))
        seen.update()
    assert seen.bytes == census(model).bytes > 0
    assert any(layer.endswith("conv.1") for layer in seen.table()["layer"])
    assert not any("forward" in vars(module) for module in model.modules())


def test_what_an_attribute_of_a_module_holds_is_found_there():
    model, loose = nn.Linear(2, 1), note_model()
    loss = model(torch.ones(3, 2)).square().sum()
    model.meter, model.lock, model.log = Tracker(loss), threading.Lock(), logging.getLogger()
    model.loose = [loose]  # in a list, so it is none of the model's own modules
    loose(images(2))
    found = census(model)
    assert "meter.loss" in found.holders
    assert {name for name in found.holders if name.startswith("loose.0.conv.1")}
    assert found.bytes == census(loss).bytes + census(loose).bytes


def test_gradients_with_a_graph_of_their_own_are_found():
    model = nn.Linear(2, 1)
    loss = model(torch.ones(3, 2)).square().sum()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of the very leak
        loss.backward(create_graph=True)
    assert "weight.grad" in census(model).holders
    model.zero_grad()


@pytest.mark.parametrize("thing", [3, None, "model", nn.Linear, iter([])])
def test_what_can_hold_no_tensor_is_refused_by_name(thing):
    with pytest.raises(TypeError, match=re.escape(f"held: got {thing!r}, which can hold no")):
        census(thing)


def test_lists_in_themselves_and_deep_ones_are_walked():
    loss = nn.Linear(2, 1)(torch.ones(3, 2)).square().sum()
    ring = [loss]
    ring.append(ring)
    assert census(ring).bytes == census(loss).bytes
    deep = [loss]
    for _ in range(5000):
        deep = [deep]
    assert census(deep).bytes == census(loss).bytes


def test_several_lists_are_all_counted():
    model = nn.Linear(2, 1)
    losses, outputs = [[model(torch.ones(3, 2)).exp()] for _ in range(2)]
    both = census(model, losses, outputs)
    assert both.bytes == census(model, losses).bytes + census(model, outputs).bytes


def test_packed_tensors_are_left_out_and_break_nothing():
    """Checkpointing keeps the inputs and computes the rest again; offloading packs what is saved."""
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
    inputs = torch.ones(2, 4)
    kept = [checkpoint(model, inputs, use_reentrant=False)]
    with torch.autograd.graph.save_on_cpu():
        kept.append(model(inputs))
    with watch(model, kept) as seen:
        seen.update()
        seen.update()
    assert seen.nodes > 0
    assert seen.bytes == 0


def test_sparse_and_uninitialized_tensors_are_counted_for_what_they_hold():
    weight = torch.ones(3, 2, requires_grad=True)
    sparse = torch.eye(3).to_sparse()
    held = torch.sparse.mm(sparse, weight)
    assert census(held).bytes >= 3 * 4 + 2 * 3 * 8  # values and indices
    lazy = nn.Sequential(nn.LazyLinear(3))
    with watch(lazy) as seen:
        lazy(torch.ones(2, 4))
        assert seen.update().bytes == 0


def test_a_list_of_tensors_that_one_node_saved_is_counted():
    taken = torch.rand(5, requires_grad=True)[torch.tensor([0, 1]),]
    assert census(taken).bytes == 2 * 8  # int64 indices; `IndexBackward0` saves a list of them


def test_live_buffers_are_no_leak():
    """Eval mode saves the running statistics, which are held in any case."""
    layer = nn.BatchNorm1d(1000).eval()
    held = layer(torch.ones(2, 1000))
    kept = census(layer, held).bytes
    assert kept == census(held).bytes - 2 * 4000 - 4000  # mean and variance; weight


@pytest.mark.parametrize("only", [None, ("running_mean",)], ids=["all", "named"])
def test_a_buffer_that_is_assigned_with_its_graph_is_found(only):
    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("running_mean", torch.zeros(3))
            self.weight = nn.Parameter(torch.ones(3))

        def forward(self, x):
            self.running_mean = 0.9 * self.running_mean + (x * self.weight).mean(0)

    model = Layer()
    seen = GraphCensus(model, only=only)
    for _ in range(2):
        model(torch.ones(5, 3))
        seen.update()
    assert seen.holders == ("running_mean",)
    assert [batch.bytes for batch in seen.batches] == [5 * 3 * 4, 5 * 3 * 4 + 8]  # and the 0.9


def test_a_look_reads_of_each_node_all_that_it_holds():
    weight = torch.ones(4, requires_grad=True)
    taken = (weight.exp() * weight.sin())[torch.tensor([0, 1]),]
    nodes = newer_nodes([taken.grad_fn], -1)
    held, pattern = held_bytes(nodes)
    parts = {n: [storages(saved.tensor) for saved in saved_tensors(nodes[n])] for n in nodes}
    assert held == {n: sum(sum(p.values()) for p in found) for n, found in parts.items() if found}
    every = [pair for found in parts.values() for part in found for pair in part.items()]
    first = {storage: number for number, storage in enumerate(dict(every))}
    assert pattern == (tuple(n for _, n in every), tuple(first[storage] for storage, _ in every))
    assert sorted(held.values()) == [2 * 8, 4 * 4, 4 * 4, 2 * 4 * 4]  # index, exp, sin, product


@pytest.mark.parametrize("norm", ["note", "builtin"])
def test_a_look_at_named_attributes_finds_what_a_look_at_all_does(norm):
    model = LeNet(norm, momentum=0.9)
    every, named = GraphCensus(model), GraphCensus(model, only=("running_mean", "running_var"))
    for step in range(6):
        model(images(2 + step))
        assert (every.update().bytes, every.nodes) == (named.update().bytes, named.nodes)
    detach_statistics(model)
    model(images(2))
    assert (every.update().bytes, every.bytes) == (named.update().bytes, named.bytes)
    assert every.holders == named.holders
