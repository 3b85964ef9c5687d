"""The memory experiment: what it measures, what each cut frees, how it ends."""

import gc
import threading
import time

import psutil
import pytest
import torch

from bnviz.census.allocator import trim
from bnviz.errors import ConfigError, RunError
from bnviz.nn.state import STATISTICS
from bnviz.subjects.memory import memory_experiment
from bnviz.subjects.memory.expectation import chain_of_shapes, check, expected, layer_names
from bnviz.subjects.memory.experiment_config import LeakConfig
from bnviz.subjects.memory.experiment_runner import Lab
from bnviz.subjects.memory.interventions import CUTS
from bnviz.subjects.memory.memory_experiment import Experiment, per_step
from bnviz.units import MIB
from tests.census.test_census import STATISTICS_BYTES, allocator_bytes
from tests.waiting import until

BATCH_BYTES = 1_448_888


def config(**changes):
    settings = {"dataset": "fashion-mnist-sample", "device": "cpu", "steps": 40}
    return LeakConfig.parse(**{**settings, **changes})


@pytest.fixture
def lab():
    made = Lab(lambda viewer: viewer != "closed")
    yield made
    made.end()


def holding(lab, **changes):
    """An experiment that has done all its steps and keeps its chain."""
    experiment = lab.start(config(**changes))
    until(lambda: experiment.state == "paused")
    return experiment


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_what_is_measured_is_what_was_predicted(sample, share):
    experiment = Experiment(config(test_share=share), sample).run()
    kept = experiment.table.column("kept_bytes")
    predicted = expected(experiment.config).curve(40, share)
    # The first step begins the chain: it has no old statistics to multiply, 64 bytes less.
    assert abs(kept[:, 0] - predicted).max() <= 64
    assert (kept[:, 1:] == 0).all(), "the corrected and the built-in layer keep nothing"
    assert experiment.table.column("test").sum() == 40 * share
    found = per_step(experiment)
    assert found["bytes"] == pytest.approx(predicted[-1] / 40, abs=2)
    assert found["bytes_per_test_batch"] == (BATCH_BYTES if share else None)
    assert found["bytes_per_training_step"] == (128 if share < 1 else None)


@pytest.mark.parametrize(
    "cure", [{"keep_graph": False}, {"test_mode": "eval"}, {"grad": False}], ids=str
)
def test_any_one_switch_stops_the_growth(sample, cure):
    experiment = Experiment(config(test_share=0.5, variants=("note",), **cure), sample).run()
    assert experiment.table.column("kept_bytes").max() <= 20 * 128


FREES = {"detach": 1.0, "no_grad": 1.0, "eval": 0.0, "buffers": 1.0, "del": 0.0}


@pytest.mark.parametrize("name", CUTS)
def test_each_cut_frees_what_it_is_said_to(lab, name):
    experiment = holding(lab, steps=12, test_share=0.5)
    before = experiment.table.column("kept_bytes")[-1, 0]
    event = experiment.cut(name)
    assert event["before"] == before == pytest.approx(6 * BATCH_BYTES + 6 * 128, abs=64)
    assert event["freed"] == FREES[name] * before
    assert experiment.events == [event]


GROWS = {"detach": 0, "no_grad": 0, "eval": 128, "buffers": 0, "del": BATCH_BYTES + 128}


@pytest.mark.parametrize("name", CUTS)
def test_after_a_cut_the_chain_grows_as_it_is_said_to(sample, name):
    """Two steps, one of them a test batch, in the experiment's own thread."""
    experiment = Experiment(config(test_share=0.5), sample)
    experiment._prepare()
    for step in range(1, 9):
        experiment._step(step)
    experiment._cut(name)
    kept = []
    for step in range(9, 15):
        experiment._step(step)
        kept.append(experiment.kept_bytes)
    assert kept[-1] - kept[-3] == GROWS[name]
    experiment._cut("undo")
    for step in range(15, 19):
        experiment._step(step)
    assert experiment.kept_bytes - kept[-1] == pytest.approx(2 * BATCH_BYTES + 2 * 128, abs=64)
    experiment.close()


def test_each_cut_is_tried_alone(lab):
    """`no_grad` frees nothing in eval mode, so `eval` must be taken back before it."""
    experiment = holding(lab, steps=8, test_share=0.5)
    experiment.cut("eval")
    assert experiment.cut("no_grad")["freed"] == experiment.events[0]["before"]


def test_buffers_in_place_travel_and_stay_the_same_tensors(sample):
    experiment = Experiment(config(), sample)
    experiment._prepare()
    experiment._step(1)
    experiment._cut("buffers")
    layers = experiment._sides["note"].model.norm_layers().values()
    tensors = [getattr(layer, name) for layer in layers for name in STATISTICS]
    values = [tensor.clone() for tensor in tensors]
    experiment._step(2)
    for layer in layers:
        assert set(STATISTICS) <= layer.state_dict().keys()
    after = [getattr(layer, name) for layer in layers for name in STATISTICS]
    assert all(one is other for one, other in zip(tensors, after, strict=True))
    assert not any(torch.equal(*pair) for pair in zip(values, after, strict=True))
    experiment.close()


def test_the_bytes_that_a_cut_says_it_freed_came_back_to_the_allocator(sample):
    experiment = Experiment(config(test_share=1.0, variants=("note",)), sample)
    experiment._prepare()
    experiment._step(1)
    experiment._cut("detach")
    experiment._cut("undo")

    def grow_and_cut():
        for step in range(2, 5):
            experiment._step(step)
        assert experiment._cut("detach")["freed"] > 3 * BATCH_BYTES - 128

    assert allocator_bytes(grow_and_cut) == pytest.approx(0, abs=2 * STATISTICS_BYTES)
    experiment.close()


def test_the_budget_ends_it_and_everything_is_freed(sample):
    def whole():
        experiment = Experiment(
            config(steps=1000, test_share=1.0, batch_size=512, budget_mib=1024, seed=1), sample
        ).run()
        assert experiment.ended
        assert "the budget of 1,024 MiB is spent" in experiment.reason
        kept = experiment.table.column("kept_bytes").sum(1)
        assert kept[-2] <= 1024 * MIB < kept[-1]
        step = expected(experiment.config).full_at(1024 * MIB, 1.0)
        assert len(kept) == step

    whole()
    gc.collect()
    assert allocator_bytes(whole) == pytest.approx(0, abs=STATISTICS_BYTES)


def test_ten_experiments_at_one_gib_leave_the_process_as_large_as_one(lab):
    def one(seed):
        experiment = lab.start(
            config(variants=("note",), batch_size=512, test_share=1.0, steps=1000, seed=seed)
        )
        until(lambda: experiment.ended)
        assert "the budget of 1,024 MiB is spent" in experiment.reason
        assert experiment.table.column("kept_bytes").max() > 1024 * MIB
        return psutil.Process().memory_info().rss / MIB

    sizes = [one(seed) for seed in range(10)]
    assert max(sizes) - sizes[0] < 200, sizes


@pytest.mark.parametrize("viewer", [None, "closed"])
def test_a_page_that_is_closed_ends_it_and_frees_it(viewer, lab, monkeypatch):
    monkeypatch.setattr(memory_experiment, "CLOSED_S", 0.3)
    experiment = lab.start(config(steps=1_000_000))
    if viewer:
        experiment.watch(viewer)
    until(lambda: experiment.ended)
    assert "closed or left" in experiment.reason
    assert experiment.kept_bytes == 0


def test_an_open_page_keeps_it_until_it_has_not_shown_it_for_long(lab, monkeypatch):
    """In a tab that is out of sight a browser lets the page tick once a minute at most."""
    monkeypatch.setattr(memory_experiment, "CLOSED_S", 0.1)
    experiment = lab.start(config(steps=1_000_000))
    experiment.watch("another page")
    began = time.monotonic()
    until(lambda: time.monotonic() - began > 1)
    assert experiment.state == "running"
    monkeypatch.setattr(memory_experiment, "UNWATCHED_S", 0.1)
    until(lambda: experiment.ended)
    assert "closed or left" in experiment.reason


def test_pause_keeps_the_chain_and_go_on_goes_on(lab):
    experiment = lab.start(config(steps=1_000_000))
    until(lambda: len(experiment.table) > 3)
    experiment.pause(True)
    until(lambda: experiment.state == "paused")
    done, kept = len(experiment.table), experiment.kept_bytes
    assert experiment.ask(lambda: threading.current_thread().name) == "bnviz-measure"
    assert (len(experiment.table), experiment.kept_bytes) == (done, kept)
    experiment.pause(False)
    until(lambda: len(experiment.table) > done)
    experiment.stop()
    until(lambda: experiment.ended)
    assert "ended by hand" in experiment.reason
    assert experiment.per_layer["bytes"].sum() >= kept


def test_a_second_start_is_refused_and_the_first_goes_on(lab):
    experiment = lab.start(config(steps=1_000_000))
    with pytest.raises(RunError, match=r"going on already \(batch size 16.*End it first"):
        lab.start(config())
    assert lab.experiment is experiment
    lab.end()
    assert experiment.ended
    assert lab.start(config()) is not experiment


def test_nothing_can_be_cut_or_looked_at_when_nothing_runs(lab):
    experiment = holding(lab, steps=3)
    with pytest.raises(ConfigError, match="cut: got 'dettach'; allowed: detach, no_grad"):
        experiment.cut("dettach")
    lab.end()
    for question in (
        lambda: experiment.cut("detach"),
        lambda: experiment.chain("conv1", "running_mean", 0),
    ):
        with pytest.raises(RunError, match="No experiment is going on"):
            question()
    assert experiment.chain_batches().empty


def test_a_cut_that_nobody_waits_for_any_more_is_not_made(lab, monkeypatch):
    monkeypatch.setattr(memory_experiment, "WAITS_S", 0.05)
    experiment, busy = holding(lab, steps=3), threading.Event()
    blocked = threading.Thread(target=lambda: experiment.ask(lambda: busy.wait(60)))
    blocked.start()
    until(lambda: not experiment._asked)  # the thread of the experiment is at work on it
    with pytest.raises(RunError, match="did not answer"):
        experiment.cut("detach")
    busy.set()
    blocked.join()
    monkeypatch.setattr(memory_experiment, "WAITS_S", 20.0)
    assert experiment.ask(lambda: experiment.events) == []


def test_the_table_of_a_batch_is_of_that_batch(lab):
    experiment = holding(lab, steps=4, test_share=0.25)
    training, tested = experiment.kept_table(2), experiment.kept_table(3)
    assert (training["bytes"].sum(), tested["bytes"].sum()) == (128, 1_448_888)


def test_what_the_process_gives_back_at_a_cut_is_measured(lab):
    """Large blocks: what is freed goes back, by itself or when the allocator is asked."""
    experiment = holding(lab, steps=6, test_share=1.0, batch_size=256)
    experiment.ask(trim)  # what others in this process have freed
    event = experiment.cut("detach")
    given = event["process_freed"] + event["process_trimmed"]
    assert given == pytest.approx(event["freed"], rel=0.5)


def test_a_failure_ends_and_frees_it(lab, monkeypatch):
    monkeypatch.setattr(Experiment, "_test_batch", lambda self, step: 1 / 0)
    experiment = lab.start(config(test_share=0.5))
    until(lambda: lab.measurement.error)
    assert "ZeroDivisionError" in lab.measurement.error
    assert experiment.ended and experiment.kept_bytes == 0
    assert not lab.going_on


def test_the_chain_of_a_past_batch_can_be_opened(lab):
    experiment = holding(lab, steps=20, test_share=0.25)
    batches = experiment.chain_batches()
    assert len(batches) == 20
    tested = batches["batch"][batches["bytes"] > 1000].tolist()
    assert tested == [3, 7, 11, 15, 19]
    found = experiment.chain("conv2", "running_mean", 7)
    shapes = chain_of_shapes(16, "conv2", "running_mean")
    compared = ["operation", "layer", "bytes", "saved"]
    assert found.nodes[compared].equals(shapes.nodes[compared])
    assert experiment.chain("conv2", "running_mean", 8).nodes["bytes"].sum() <= 32
    table = experiment.kept_table()
    assert set(table["layer"]) <= layer_names().keys()
    assert table["bytes"].sum() == batches["bytes"].sum()


def test_the_way_to_an_old_batch_is_walked_once_until_a_cut(lab, monkeypatch):
    walked, whole = [], memory_experiment.chain
    monkeypatch.setattr(
        memory_experiment, "chain", lambda *asked: walked.append(asked[-1]) or whole(*asked)
    )
    experiment = holding(lab, steps=8, test_share=0.5)
    first = experiment.chain("conv2", "running_mean", 1)
    assert experiment.chain("conv2", "running_mean", 1) is first
    experiment.chain("conv2", "running_mean", 3)
    experiment.cut("eval")
    experiment.chain("conv2", "running_mean", 3)
    assert walked == [1, 3, 3]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"budget_mib": 10**9}, r"budget_mib: got 1,000,000,000 MiB, but this machine has [\d,]+ MiB"),
        ({"batch_size": 4096, "budget_mib": 100}, r"batch_size: got 4096, and one step of all networks saves 926\.1 MiB"),
        ({"device": "mps"}, "device: got 'mps'"),
        ({"batch_size": 1}, "batch_size: got 1; allowed: a whole number at least 2"),
        ({"test_share": 2}, "test_share: got 2; allowed: a number at least 0 and at most 1"),
        ({"test_mode": "evil"}, "test_mode: got 'evil'; allowed: train, eval"),
        ({"variants": ("nte",)}, "variants: got 'nte'.*did you mean 'note'"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_before_anything_is_made(lab, changes, said):
    with pytest.raises(ConfigError, match=said):
        lab.start(config(**changes))
    assert lab.experiment is None


def test_the_batch_that_is_named_as_the_most_is_taken():
    with pytest.raises(ConfigError) as refused:
        check(config(batch_size=4096, budget_mib=100))
    most = int(str(refused.value).split("at most ")[1].split(",")[0])
    check(config(batch_size=most, budget_mib=100))
    with pytest.raises(ConfigError):
        check(config(batch_size=most + 8, budget_mib=100))


def test_a_process_that_grows_without_keeping_tensors_is_stopped_too(sample, monkeypatch):
    """Training steps keep 128 bytes each, and the process grows by some MiB a step all the same."""
    monkeypatch.setattr(memory_experiment, "SLACK_MIB", -10)
    experiment = Experiment(
        config(test_share=0.0, batch_size=512, budget_mib=40, steps=10_000), sample
    ).run()
    assert "The process grew by" in experiment.reason
    assert len(experiment.table) < 1000
    assert experiment.table.column("kept_bytes").max() < MIB


def test_a_chain_that_is_cut_while_somebody_looks_is_the_newest_that_is_left(sample):
    experiment = Experiment(config(test_share=0.5, grad=False), sample)
    experiment._prepare()
    for step in range(1, 5):
        experiment._step(step)
    assert len(experiment._chain("conv1", "running_mean", 99).nodes) == 0
    experiment._step(5)
    assert len(experiment._chain("conv1", "running_mean", 99).nodes) > 0
    experiment.close()


def test_undo_makes_plain_attributes_of_buffers_again(sample):
    experiment = Experiment(config(), sample)
    experiment._prepare()
    experiment._cut("buffers")
    experiment._cut("undo")
    for layer in experiment._sides["note"].model.norm_layers().values():
        assert not set(STATISTICS) & layer.state_dict().keys()
        assert set(STATISTICS) <= vars(layer).keys()
    experiment.close()
