import copy
import gc
import io
import re
import warnings
from collections import deque
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import torch
from torch import nn
from torch._C._profiler import _EventType
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile
from torch.utils.checkpoint import checkpoint

from bnviz.analysis.graph import held_bytes, newer_nodes, saved_tensors, storages
from bnviz.analysis.memory import GraphCensus, census, release, watch
from bnviz.nn import LeNet

# The values of the new statistics themselves: 226 channels, running and of the batch, mean and
# variance, 4 bytes each. They replace old ones that the profiler did not see being made.
STATISTICS_BYTES = 226 * 4 * 4


def note_model(**quirks):
    model = LeNet("note", momentum=0.9, norm_options=quirks)
    model.reset_parameters(torch.Generator().manual_seed(0))
    return model


def images(count=16):
    return torch.rand(count, 1, 28, 28, generator=torch.Generator().manual_seed(1))


def allocator_bytes(work):
    """Bytes that torch's allocator handed out during `work` and did not get back.

    Block by block: the profiler also tells of blocks that it never saw handed out, with the size of
    whatever an earlier profile had seen at their address.
    """
    gc.collect()
    gc.disable()  # garbage of other tests must not be freed meanwhile
    try:
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
            work()
    finally:
        gc.enable()
    alive = {}
    for _moment, block, size in sorted(
        allocations(seen.profiler.kineto_results.experimental_event_tree())
    ):
        if size > 0:
            alive[block] = size
        else:
            alive.pop(block, None)
    return sum(alive.values())


def allocations(events):
    """Moment, address and size (negative when freed) of all allocator events in the tree."""
    for event in events:
        if event.tag == _EventType.Allocation:
            yield event.start_time_ns, event.extra_fields.ptr, event.extra_fields.alloc_size
        yield from allocations(event.children)


@pytest.mark.parametrize("batch", [2, 16, 64])
def test_the_census_counts_what_the_allocator_lost(batch):
    """Two plain routes to the same number: the graph's saved tensors, the allocator's events."""
    model, inputs = note_model(), images(batch)
    model(inputs)
    census = GraphCensus(model)
    census.update()
    before = census.bytes
    lost = allocator_bytes(lambda: model(inputs))
    census.update()
    counted = census.bytes - before - inputs.untyped_storage().nbytes()
    assert counted == pytest.approx(lost, rel=0.01, abs=STATISTICS_BYTES)


def test_a_training_step_keeps_nodes_and_128_bytes_but_no_activation():
    model, inputs = note_model(), images()
    census, kept = GraphCensus(model), []
    for _ in range(4):
        model(inputs).sum().backward()
        census.update()
        kept.append((census.bytes, census.nodes))
    assert kept[3][0] - kept[2][0] == 128
    assert 50 < kept[3][1] - kept[2][1] < 120


@pytest.mark.parametrize("norm", ["composite", "fused", "builtin", "none"])
def test_the_other_layers_keep_nothing(norm):
    model = LeNet(norm)
    model(images())
    census = GraphCensus(model)
    census.update()
    assert (census.nodes, census.bytes) == (0, 0)


def test_no_grad_in_train_mode_cuts_the_chain():
    model, inputs = note_model(), images()
    census = GraphCensus(model)
    model(inputs)
    census.update()
    assert census.bytes > 1_000_000
    with torch.no_grad():
        model(inputs)
    census.update()
    assert (census.nodes, census.bytes) == (0, 0)


def test_release_gives_the_memory_back():
    model, inputs = note_model(), images()

    def grow_and_release():
        for _ in range(3):
            model(inputs)
        release(model)

    model(inputs)
    release(model)
    assert allocator_bytes(grow_and_release) == pytest.approx(0, abs=STATISTICS_BYTES)


def test_the_census_keeps_nothing_alive():
    model, inputs = note_model(), images()
    model(inputs)
    release(model)
    census = GraphCensus(model)

    def count_and_cut():
        model(inputs)
        census.update()
        release(model)

    assert allocator_bytes(count_and_cut) == pytest.approx(0, abs=STATISTICS_BYTES)


@pytest.fixture
def asked(monkeypatch):
    """Numbers of the nodes that were asked what they hold, since the list was cleared."""
    from bnviz.analysis import memory

    asked, whole = [], memory.held_bytes
    monkeypatch.setattr(memory, "held_bytes", lambda nodes: asked.extend(nodes) or whole(nodes))
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


def test_the_table_sums_to_the_whole_and_names_the_layers():
    model, inputs = note_model(), images()
    with watch(model) as seen:
        for _ in range(3):
            model(inputs.clone())
            seen.update()
    table = seen.table()
    assert (table["bytes"].sum(), table["nodes"].sum()) == (seen.bytes, seen.nodes)
    by_layer = table.groupby("layer")["bytes"].sum()
    values = {"conv.2": 16 * 6 * 24 * 24, "conv.6": 16 * 16 * 8 * 8, "fc.2": 16 * 120}
    for layer, count in values.items():  # a sigmoid saves what it gives, four bytes a value
        assert by_layer[layer] == 3 * 4 * count
    assert by_layer["conv.0"] == 3 * inputs.untyped_storage().nbytes()
    assert sum(batch.bytes for batch in seen.batches) == seen.bytes
    assert seen.batches[1].table()["bytes"].sum() == seen.batches[1].bytes


def test_watching_ends_with_the_layers_as_they_were():
    model, inputs = note_model(), images(2)
    with pytest.raises(ZeroDivisionError), watch(model) as seen:
        model(inputs)
        seen.update()
        raise ZeroDivisionError
    assert not any("forward" in vars(module) for module in model.modules())
    before = seen.update().nodes
    model(inputs)
    assert seen.update().table()["layer"].eq("").all(), "nobody listens any more"
    assert before == 0


def test_watching_changes_no_value():
    one, two, inputs = note_model(), note_model(), images()
    with watch(two) as seen:
        for _ in range(3):
            assert torch.equal(one(inputs), two(inputs))
            seen.update()
    assert torch.equal(one.conv[1].running_var, two.conv[1].running_var)


def test_what_was_cut_in_part_is_counted_anew():
    model, inputs = note_model(), images()
    with watch(model) as seen:
        for _ in range(4):
            model(inputs.clone())
            seen.update()
        whole = seen.bytes
        for layer in (model.fc[1], model.fc[4]):
            release(layer)
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


def test_a_chain_of_10_000_batches_costs_as_little_a_batch_as_one_of_100(monkeypatch):
    """Counted in nodes, not in time; and neither the walk nor the end of the chain recurses."""
    from bnviz.analysis import memory

    visited = []
    whole = memory.walk
    monkeypatch.setattr(memory, "walk", lambda *given: visited.append(whole(*given)) or visited[-1])

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
    anew = GraphCensus(model)
    anew.update()
    assert anew.nodes == seen.nodes
    visited.clear()
    model.mean = model.mean.detach()
    seen.update()
    assert (seen.nodes, seen.batches) == (0, [])


def test_the_worked_page_prints_what_it_says():
    """The code of docs/keeping-a-graph.md is run as it stands, its output compared."""
    page = (Path(__file__).parents[2] / "docs" / "keeping-a-graph.md").read_text()
    codes = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    shown = re.findall(r"prints\n\n```\n(.*?)```", page, re.DOTALL)
    said, space = io.StringIO(), {}
    with redirect_stdout(said):
        for code in codes:
            exec(code, space)
    assert said.getvalue() == "".join(shown)


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
        release(model.fc[4])
        seen.update()
        assert seen.bytes == census(model).bytes > 0
        release(model)
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


def test_two_tensors_that_hang_on_each_other_are_not_counted_anew_each_time(monkeypatch):
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


def test_a_forward_that_a_module_has_of_its_own_is_given_back():
    model = nn.Sequential(nn.Linear(2, 2))
    own = model[0].forward
    model[0].forward = patched = lambda x: own(x) + 1
    one, two = watch(model), watch(model)
    two.close()
    one.close()
    assert model[0].forward is patched


@pytest.mark.parametrize("norm", ["note", "builtin"])
def test_a_look_at_named_attributes_finds_what_a_look_at_all_does(norm):
    model = LeNet(norm, momentum=0.9)
    every, named = GraphCensus(model), GraphCensus(model, only=("running_mean", "running_var"))
    for step in range(6):
        model(images(2 + step))
        assert (every.update().bytes, every.nodes) == (named.update().bytes, named.nodes)
    release(model)
    model(images(2))
    assert (every.update().bytes, every.bytes) == (named.update().bytes, named.bytes)
    assert every.holders == named.holders


def test_the_newest_two_of_a_chain_are_not_counted_anew_each_time(monkeypatch):
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


class Tracker:
    def __init__(self, loss):
        self.loss = loss


@pytest.mark.parametrize(
    "hold",
    [
        lambda loss: [loss], lambda loss: deque([loss]), lambda loss: {loss}, Tracker,
        lambda loss: {"a": ({"b": loss},)}, lambda loss: loss,
    ],
    ids=["list", "deque", "set", "object", "nested", "itself"],
)  # fmt: skip
def test_a_loss_is_found_wherever_it_is_held(hold):
    model = nn.Linear(2, 1)
    loss = model(torch.ones(3, 2)).square().sum()
    assert census(model, hold(loss)).bytes == 4 * (3 * 2 + 3)


def test_a_module_in_a_list_is_looked_into():
    model = note_model()
    model(images(2))
    assert census([model]).bytes == census(model).bytes > 0


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
    """Eval mode saves the running statistics, which live anyway."""
    layer = nn.BatchNorm1d(1000).eval()
    held = layer(torch.ones(2, 1000))
    kept = census(layer, held).bytes
    assert kept == census(held).bytes - 2 * 4000 - 4000  # mean and variance; weight


def test_two_who_watch_can_stop_in_any_order_and_a_copy_is_not_watched():
    model = nn.Sequential(nn.Linear(2, 2))
    one, two = watch(model), watch(model)
    twin = copy.deepcopy(model)
    one.close()
    held = [model(torch.ones(1, 2)).exp()]
    two.update(held)
    assert "0" in set(two.table()["layer"])
    two.close()
    assert "forward" not in vars(model[0])
    assert torch.equal(twin(torch.ones(1, 2)), model(torch.ones(1, 2)))
    nn.init.zeros_(twin[0].weight)
    assert not torch.equal(twin(torch.ones(1, 2)), model(torch.ones(1, 2)))
    twin(torch.ones(1, 2))
    assert two.update().nodes == 0


def test_a_forward_that_fails_is_over():
    class Fails(nn.Module):
        def forward(self, x):
            raise ZeroDivisionError

    model, held = nn.Sequential(Fails()), []
    with watch(model, held) as seen:
        with pytest.raises(ZeroDivisionError):
            model(torch.ones(2))
        held.append(torch.ones(2, requires_grad=True).exp())
        seen.update()
    assert set(seen.table()["layer"]) == {""}


def test_batches_alike_but_for_a_tensor_that_is_saved_twice_are_told_apart():
    weight, held = torch.ones(8, requires_grad=True), []
    seen = GraphCensus(held)
    for twice in (True, False, True):
        one, other = weight + 1, weight + 1  # which save nothing themselves
        held.append(one * one + other if twice else one * other + other)
        seen.update()
    assert seen.bytes == census(held).bytes


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
    held, seen = held_bytes(nodes)
    parts = {n: [storages(saved.tensor) for saved in saved_tensors(nodes[n])] for n in nodes}
    assert held == {n: sum(sum(p.values()) for p in found) for n, found in parts.items() if found}
    assert seen == {storage for found in parts.values() for part in found for storage in part}
    assert sorted(held.values()) == [2 * 8, 4 * 4, 4 * 4, 2 * 4 * 4]  # index, exp, sin, product


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


def test_several_lists_are_all_counted():
    model = nn.Linear(2, 1)
    losses, outputs = [[model(torch.ones(3, 2)).exp()] for _ in range(2)]
    both = census(model, losses, outputs)
    assert both.bytes == census(model, losses).bytes + census(model, outputs).bytes


def test_a_module_that_is_taken_out_is_held_no_longer():
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
    with watch(model) as seen:
        model[1].kept = model(torch.ones(1, 2))
        assert seen.update().nodes > 0
        gone = model.pop(1)
        seen.update()
        assert (seen.nodes, seen.bytes) == (0, 0)
        assert "forward" not in vars(gone)


def test_a_module_that_is_added_later_is_seen_and_listened_to():
    model, held = nn.Sequential(nn.Linear(2, 2)), []
    with watch(model, held) as seen:
        seen.update()
        model.append(nn.Linear(2, 2))
        seen.update()
        held.append(model(torch.ones(1, 2)))
        seen.update()
        assert {"0", "1"} <= set(seen.table()["layer"])
        held.append(model(torch.ones(1, 2)))
        seen.recount()
    assert seen.nodes == census(model, held).nodes
    assert "forward" not in vars(model[1])
