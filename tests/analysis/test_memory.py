import gc

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from bnviz.analysis.memory import GraphCensus, release
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
    """Bytes that torch's allocator handed out during `work` and did not get back."""
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as events:
        work()
    return sum(
        e.nbytes() for e in events.profiler.kineto_results.events() if e.name() == "[memory]"
    )


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
