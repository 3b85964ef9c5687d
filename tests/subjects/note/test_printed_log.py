"""The note's log replayed at small size."""

import dataclasses

import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from bnviz.errors import ConfigError, RunError
from bnviz.nn import LeNet
from bnviz.subjects.note import original_loop
from bnviz.subjects.note.printed_log import PRINTED, Replay, replay_log
from bnviz.subjects.note.recorded import recorded_log
from bnviz.training.tasks import Cancelled


@pytest.fixture(scope="module")
def replay(sample):
    few = dataclasses.replace(
        sample,
        train_images=sample.train_images[:1200],
        train_labels=sample.train_labels[:1200],
        test_images=sample.test_images[:202],
        test_labels=sample.test_labels[:202],
    )
    return replay_log(1, dataset=few, loops=False), few


def test_the_replay_is_what_the_note_s_loop_written_out_gives(replay):
    """A second, plainer route: torch's own layers, an optimizer as it comes, batches by hand."""
    found, few = replay
    net = LeNet("builtin")
    generator = torch.Generator().manual_seed(0)
    net.reset_parameters(generator)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01, fused=True)
    inputs = torch.tensor(few.train_images)[:, None] / 255
    order = torch.randperm(1200, generator=torch.Generator().manual_seed(0))
    losses = []
    for index in order.split(4):
        loss = F.cross_entropy(net(inputs[index]), torch.tensor(few.train_labels)[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    row = found.frame.iloc[0]
    assert row["mean_loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-6)
    assert row["printed_loss"] == pytest.approx(row["mean_loss"] / 4)

    test, labels = torch.tensor(few.test_images)[:, None] / 255, torch.tensor(few.test_labels)
    with torch.no_grad():
        right = (net.eval()(test).argmax(1) == labels).float().mean().item()
        net.train()
        rights = [int((net(x).argmax(1) == y).sum()) for x, y in zip(test.split(4), labels.split(4), strict=True)]  # fmt: skip
    assert row["eval_accuracy"] == pytest.approx(right)
    assert row["note_accuracy"] == pytest.approx(sum(rights) / (51 * 4))


def test_a_replay_survives_its_own_json(replay):
    found, _few = replay
    back = Replay.from_json(found.to_json())
    pd.testing.assert_frame_equal(back.frame, found.frame)
    assert dataclasses.replace(back, frame=None) == dataclasses.replace(found, frame=None)


def test_it_can_be_cancelled_within_an_epoch(sample):
    heard = []

    def progress(done, _parts, share=None):
        heard.append(share)
        if len(heard) == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        replay_log(2, progress, dataset=sample, loops=False)
    assert heard[-1] < 0.2


@pytest.mark.parametrize("epochs", [0, 6])
def test_epochs_that_the_note_does_not_have_are_refused(epochs):
    with pytest.raises(ConfigError, match=f"epochs: got {epochs}; allowed: 1 to 5"):
        replay_log(epochs)


def test_both_loops_are_timed_in_a_process_of_their_own():
    heard = []
    found = original_loop.compare_loops(4, lambda *done: heard.append(done), steps=5, rounds=2)
    assert heard == [(1, 2), (2, 2)]
    assert set(found) == {"note_ms", "own_ms", "ratio"}
    assert (found["ratio"] > 1) == (found["note_ms"] > found["own_ms"])
    assert all(value > 0 for value in found.values())


def test_a_loop_that_cannot_be_timed_says_why(monkeypatch):
    monkeypatch.setattr(original_loop, "__name__", "bnviz.subjects.note.original_lop")
    with pytest.raises(RunError, match="original_lop"):
        original_loop.compare_loops(4, steps=1, rounds=1)


def test_the_recorded_replay_is_near_the_log_and_says_what_is_low_in_it():
    """The same net from another seed: the loss to the second digit, the accuracy a few points low."""
    found = recorded_log()
    assert list(found.frame["epoch"]) == [line.epoch for line in PRINTED]
    for printed, row in zip(PRINTED, found.frame.to_dict("records"), strict=True):
        assert row["printed_loss"] == pytest.approx(printed.loss, abs=0.01)
        assert row["note_accuracy"] < row["large_batch_accuracy"]
        assert row["note_accuracy"] == pytest.approx(printed.accuracy, abs=0.06)
    assert found.made["command"] == "python -m bnviz log --epochs 5"
    assert found.loops["ratio"] > 1
