import gc
import io
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import torch
from torch import nn
from torch._C._profiler import _EventType
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

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


def test_each_walk_sees_only_what_is_new(monkeypatch):
    """The cost of a census must not grow with the chain."""
    from bnviz.analysis import memory

    seen = []
    whole = memory.saved_tensors
    monkeypatch.setattr(memory, "saved_tensors", lambda node: seen.append(node) or whole(node))
    model, inputs = note_model(), images(2)
    census, visits = GraphCensus(model), []
    for _ in range(60):
        model(inputs)
        census.update()
        visits.append(len(seen))
        seen.clear()
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
    whole = memory.new_nodes
    monkeypatch.setattr(
        memory, "new_nodes", lambda *given: visited.append(whole(*given)) or visited[-1]
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
        costs.append(len(visited.pop()[0]))
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
