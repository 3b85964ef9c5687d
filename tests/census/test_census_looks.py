"""One look after another: each counts what is new, and all together what a whole count says."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bnviz.census.graph_census import GraphCensus, census, detach_statistics, watch
from tests.census.note_network import images, note_model


@pytest.fixture
def asked(monkeypatch):
    """Numbers of the nodes that were asked what they hold, since the list was cleared."""
    from bnviz.census import graph_census

    asked, whole = [], graph_census.held_bytes
    monkeypatch.setattr(
        graph_census,
        "held_bytes",
        lambda nodes, *living: asked.extend(nodes) or whole(nodes, *living),
    )
    return asked


@pytest.mark.parametrize("sizes", [[2], [2, 3, 5]], ids=["alike", "of three sizes"])
def test_each_look_sees_only_what_is_new(asked, sizes):
    """The cost of a census must not grow with the chain, whatever the batches are like."""
    model = note_model()
    census, visits = GraphCensus(model), []
    for step in range(60):
        model(images(sizes[step % len(sizes)]))
        census.update()
        visits.append(len(asked))
        asked.clear()
    assert visits[-1] == visits[10]


def test_a_chain_of_10_000_batches_costs_as_little_a_batch_as_one_of_100(monkeypatch):
    """Counted in nodes, not in time; and neither the walk nor the end of the chain recurses."""
    from bnviz.census import graph_census

    visited = []
    whole = graph_census.walk
    monkeypatch.setattr(
        graph_census, "walk", lambda *given: visited.append(whole(*given)) or visited[-1]
    )

    class Average(nn.Module):
        def __init__(self):
            super().__init__()
            self.mean = torch.zeros(1)

        def forward(self, x):
            self.mean = 0.1 * x.mean() + 0.9 * self.mean

    model, weight = Average(), torch.ones(2, requires_grad=True)
    seen, costs = GraphCensus(model), []
    for _ in range(10_000):
        model(weight * 2)
        seen.update()
        costs.append(len(visited.pop().nodes))
    assert set(costs[1:]) == {costs[100]}
    assert len(seen.batches) == 10_000
    assert seen.nodes == sum(costs)
    recounted = GraphCensus(model)
    recounted.update()
    assert recounted.nodes == seen.nodes
    visited.clear()
    model.mean = model.mean.detach()
    seen.update()
    assert (seen.nodes, seen.batches) == (0, [])


def training_step(model, inputs):
    F.cross_entropy(model(inputs), torch.zeros(len(inputs), dtype=torch.int64)).backward()


def test_batches_that_differ_are_not_taken_for_alike():
    """Training and test batches run the same layers and leave as many nodes; one is emptied."""
    model = note_model()
    with watch(model) as seen:
        sizes = []
        for batch in (16, 16, 8, 16):
            training_step(model, images(batch))
            trained = seen.update().bytes
            model(images(batch))
            sizes.append((trained, seen.update().bytes))
    assert [trained for trained, _tested in sizes[1:]] == [128] * 3
    tested = [tested for _trained, tested in sizes]
    assert tested[1] == tested[3] == 1_448_888
    assert tested[2] == pytest.approx(tested[1] / 2, rel=0.01)
    walked = GraphCensus(model)
    walked.update()
    assert (walked.nodes, walked.bytes) == (seen.nodes, seen.bytes)


def test_batches_that_differ_in_the_middle_only_are_told_apart():
    weight = torch.ones(1, requires_grad=True)

    class Keeps(nn.Module):
        def forward(self, *inputs):
            self.sum = sum((weight * x).sum() for x in inputs) + getattr(self, "sum", 0.0)

    model = Keeps()
    seen = GraphCensus(model)
    for middle in (50, 60, 9000, 50):
        model(torch.ones(10_000), torch.ones(middle), torch.ones(2))
        seen.update()
    assert seen.bytes == census(model).bytes


def test_batches_alike_but_for_a_tensor_that_is_saved_twice_are_told_apart():
    weight, held = torch.ones(8, requires_grad=True), []
    seen = GraphCensus(held)
    for twice in (True, False, True):
        one, other = weight + 1, weight + 1  # which save nothing themselves
        held.append(one * one + other if twice else one * other + other)
        seen.update()
    assert seen.bytes == census(held).bytes


def test_batches_alike_but_for_whose_a_saved_tensor_is_are_told_apart():
    """What a parameter saves lives anyway; the same of an activation is kept."""
    frozen = nn.Parameter(torch.ones(8), requires_grad=False)
    weight, model, held = torch.ones(8, requires_grad=True), nn.ParameterList([frozen]), []
    seen = GraphCensus(model, held)
    for other in (frozen, torch.ones(8), frozen):
        held.append(weight * other)
        seen.update()
    assert [batch.bytes for batch in seen.batches] == [0, 32, 0]
    assert seen.bytes == census(model, held).bytes == 32


def test_batches_alike_but_for_their_operations_are_told_apart():
    weight, held = torch.ones(8, requires_grad=True), []
    seen = GraphCensus(held)
    for operation in (torch.exp, torch.tanh, torch.exp):
        held.append(operation(weight))
        seen.update()
    names = [set(batch.table()["operation"]) for batch in seen.batches]
    assert names == [{"ExpBackward0"}, {"TanhBackward0"}, {"ExpBackward0"}]


def test_batches_alike_but_for_which_tensor_is_saved_twice_are_told_apart():
    weight, held = torch.ones(8, requires_grad=True), []
    seen = GraphCensus(held)
    for first in (True, False):
        one, other = torch.ones(8), torch.ones(8)
        held.append(weight * one + weight / (one if first else other) + weight * other)
        seen.update()
    sizes = [batch.table().set_index("operation")["bytes"] for batch in seen.batches]
    assert [size["DivBackward0"] for size in sizes] == [0, 32]
    assert [size["MulBackward0"] for size in sizes] == [64, 32]
    assert seen.table().equals(census(held).table())


def test_batches_alike_but_for_the_layer_that_ran_are_told_apart():
    model = nn.ModuleDict({"one": nn.Linear(2, 2), "other": nn.Linear(2, 2)})
    held = []
    with watch(model, held) as seen:
        for name in ("one", "other", "one"):
            held.append(model[name](torch.ones(1, 2)))
            seen.update()
    layers = [set(batch.table()["layer"]) for batch in seen.batches]
    assert layers == [{"one"}, {"other"}, {"one"}]


def test_batches_alike_but_for_what_was_dropped_between_their_nodes_are_told_apart():
    """Else it would be asked of the wrong node whether `backward` has emptied it."""
    weight, held = torch.ones(8, requires_grad=True), []
    seen = GraphCensus(held)
    for dropped in (0, 3):
        for _ in range(dropped):
            weight.exp()
        held.append(weight.exp())
        seen.update()
    held[-1].sum().backward()
    seen.update()
    assert seen.bytes == census(held).bytes == 8 * 4


def test_what_is_replaced_at_each_step_is_not_counted_twice():
    """A module that keeps its last output frees the one before, however many batches went by."""

    class KeepsLast(nn.Module):
        def __init__(self, averages):
            super().__init__()
            self.linear, self.averages = nn.Linear(3, 3), averages
            self.last, self.mean = None, torch.zeros(())

        def forward(self, x):
            self.last = self.linear(x).exp()
            if self.averages:
                self.mean = 0.9 * self.mean + 0.1 * self.last.mean()

    for averages in (False, True):
        model = KeepsLast(averages)
        with watch(model) as seen:
            for _ in range(5):
                model(torch.ones(4, 3))
                seen.update()
        whole = census(model)
        assert (seen.nodes, seen.bytes) == (whole.nodes, whole.bytes)
        assert len(seen.batches) == (5 if averages else 1)


def test_a_chain_that_was_there_before_the_watch_is_counted_and_can_be_cut():
    model, inputs = note_model(), images()
    for _ in range(3):
        model(inputs.clone())
    whole = census(model).bytes
    with watch(model) as seen:
        assert seen.update().bytes == 0, "nothing is new"
        assert seen.bytes == whole
        model(inputs.clone())
        assert seen.update().bytes == 1_448_888
        detach_statistics(model.fc[4])
        seen.update()
        assert seen.bytes == census(model).bytes > 0
        detach_statistics(model)
        seen.update()
    assert (seen.nodes, seen.bytes) == (0, 0)


def test_a_state_that_is_detached_before_each_step_does_not_grow():
    """Truncated backpropagation: the holder has a graph at every look, never the old one."""
    cell, state, sizes = nn.RNNCell(2, 3), {"h": torch.zeros(4, 3)}, []
    seen = GraphCensus(cell, state)
    for _ in range(6):
        state["h"] = cell(torch.ones(4, 2), state["h"].detach())
        seen.update()
        sizes.append((seen.nodes, seen.bytes))
    assert len(set(sizes)) == 1
    assert sizes[0][1] > 0


def test_two_tensors_that_hang_on_each_other_are_not_recounted_each_time(monkeypatch):
    """The state and the cell of an LSTM that nobody detaches: h is computed from c and the old h."""
    cell, state = nn.LSTMCell(2, 3), {"h": torch.zeros(4, 3), "c": torch.zeros(4, 3)}
    seen = GraphCensus(cell, state)
    recounts = []
    monkeypatch.setattr(seen, "_recount", lambda found: recounts.append(found))
    for _ in range(8):
        state["h"], state["c"] = cell(torch.ones(4, 2), (state["h"], state["c"]))
        seen.update()
    assert recounts == []
    whole = census(cell, state)
    assert seen.nodes == whole.nodes > 8


def test_the_newest_two_of_a_chain_are_not_recounted_each_time(monkeypatch):
    class Keeps(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(2, 2)
            self.now = self.before = torch.zeros(1, 2)

        def forward(self, x):
            self.before, self.now = self.now, self.linear(x) + self.now

    model = Keeps()
    seen, recounts = GraphCensus(model), []
    monkeypatch.setattr(seen, "_recount", lambda found: recounts.append(found))
    for _ in range(8):
        model(torch.ones(1, 2))
        seen.update()
    assert recounts == []
    assert seen.nodes == census(model).nodes > 8


def test_what_was_cut_in_part_is_recounted():
    model, inputs = note_model(), images()
    with watch(model) as seen:
        for _ in range(4):
            model(inputs.clone())
            seen.update()
        whole = seen.bytes
        for layer in (model.fc[1], model.fc[4]):
            detach_statistics(layer)
        seen.update()
    left = GraphCensus(model)
    left.update()
    assert 0 < seen.bytes == left.bytes < whole
    assert len(seen.batches) == 4
    assert set(seen.table()["layer"]) == {
        "conv.0",
        "conv.1",
        "conv.2",
        "conv.3",
        "conv.4",
        "conv.5",
    }


def test_what_was_under_another_and_is_then_dropped_is_noticed():
    weight, held = torch.ones(2, requires_grad=True), {}
    seen = GraphCensus(held)
    held["old"] = weight.exp()
    held["new"] = held["old"].exp()
    held["newest"] = held["new"].exp()
    for name in ("newest", "new", "old"):
        seen.update()
        assert seen.nodes == census(held).nodes == len(held)
        del held[name]
    seen.update()
    assert (seen.nodes, seen.bytes) == (0, 0)


@pytest.mark.parametrize("together", [True, False], ids=["a sum", "a list"])
def test_what_backward_frees_of_batches_before_is_noticed(together):
    """Gradient accumulation: the sum stays held, its batches were emptied."""
    model, held = nn.Sequential(nn.Linear(4, 8), nn.Tanh()), {"losses": []}
    with watch(model, held) as seen:
        for _ in range(4):
            held["losses"].append(model(torch.ones(16, 4)).square().sum())
            if together:
                held["losses"] = [sum(held["losses"])]
            seen.update()
        assert seen.bytes == census(model, held).bytes > 0
        held["losses"][-1].backward()
        seen.update()
    assert seen.bytes == census(model, held).bytes
    if together:
        assert seen.bytes == 0


def test_what_was_made_earlier_and_is_held_only_now_is_counted():
    weight, held = torch.ones(8, requires_grad=True), []
    with watch(held) as seen:
        waiting = [weight.exp(), weight.exp().exp()]
        held.append(weight.exp())
        seen.update()
        later = weight.exp()
        seen.update()
        for tensor in (waiting[0], later, waiting[1]):
            held.append(tensor)
            held.append(weight.exp())
            seen.update()
            assert (seen.nodes, seen.bytes) == (census(held).nodes, census(held).bytes)
        seen.recount()
        assert (seen.nodes, seen.bytes) == (census(held).nodes, census(held).bytes)
    assert sum(batch.nodes for batch in seen.batches) == seen.nodes
