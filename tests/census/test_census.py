"""What a census counts of the note's network, checked against torch's allocator."""

import gc
import io
import re
from contextlib import redirect_stdout

import pytest
import torch
from torch._C._profiler import _EventType
from torch.profiler import ProfilerActivity, profile

from bnviz.census.graph_census import GraphCensus, detach_statistics, watch
from bnviz.nn import LeNet
from tests.census.note_network import images, note_model
from tests.paths import ROOT

# The values of the new statistics themselves: 226 channels, running and of the batch, mean and
# variance, 4 bytes each. They replace old ones that the profiler did not see being made.
STATISTICS_BYTES = 226 * 4 * 4


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
        detach_statistics(model)

    model(inputs)
    detach_statistics(model)
    assert allocator_bytes(grow_and_release) == pytest.approx(0, abs=STATISTICS_BYTES)


def test_the_census_keeps_nothing_alive():
    model, inputs = note_model(), images()
    model(inputs)
    detach_statistics(model)
    census = GraphCensus(model)

    def count_and_cut():
        model(inputs)
        census.update()
        detach_statistics(model)

    assert allocator_bytes(count_and_cut) == pytest.approx(0, abs=STATISTICS_BYTES)


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


def test_the_worked_page_prints_what_it_says():
    """The code of docs/keeping-a-graph.md is run as it stands, its output compared."""
    page = (ROOT / "docs" / "keeping-a-graph.md").read_text()
    codes = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    shown = re.findall(r"prints\n\n```\n(.*?)```", page, re.DOTALL)
    said, space = io.StringIO(), {}
    with redirect_stdout(said):
        for code in codes:
            exec(code, space)
    assert said.getvalue() == "".join(shown)
