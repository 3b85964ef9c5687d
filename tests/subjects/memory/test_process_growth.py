"""Processes of their own: what they are asked, that they end, that errors are heard."""

import platform
import shlex
import sys
import time
from itertools import pairwise

import psutil
import pytest

from bnviz.errors import BnvizError
from bnviz.subjects.memory import process_growth as module
from bnviz.subjects.memory.cli import memory
from bnviz.subjects.memory.process_growth import (
    BATCH_SIZES,
    COLUMNS,
    KINDS,
    THRESHOLD,
    VARIABLE,
    does_not_apply,
    json_of,
    process_growth,
    recorded,
    shell_command,
    steps_of,
)

needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs Linux with glibc")
PRINT = "import json, os; print(json.dumps(dict(os.environ)))"
SLEEP = "import time; time.sleep(600)"


class Cancelled(Exception):
    """Nobody wants the rest."""


def python(code):
    return [sys.executable, "-c", code]


def children():
    return {child.pid for child in psutil.Process().children()}


@needs_glibc
def test_a_real_process_measures_a_batch_size(monkeypatch):
    """The command itself, with and without the threshold: tensors kept are the same in both."""
    monkeypatch.setattr(module, "STEPS", {"train": 12, "test": 12})
    parts = []
    frame = process_growth(lambda done, of: parts.append((done, of)), [4], ["train"])
    assert tuple(frame.columns) == COLUMNS
    assert list(frame["threshold"]) == [False, True]
    assert list(frame["tensor_bytes"]) == [128, 128]
    assert (frame["nodes"] > 50).all()
    assert sorted(set(parts)) == [(0, 2), (1, 2)]


def test_the_threshold_is_set_for_one_process_and_not_for_the_other(monkeypatch):
    monkeypatch.setenv(VARIABLE, "1")  # whatever the server was started with
    assert VARIABLE not in json_of(python(PRINT), {})
    assert json_of(python(PRINT), {VARIABLE: str(THRESHOLD)})[VARIABLE] == "65536"


def test_each_point_is_asked_for_with_its_own_command(monkeypatch):
    asked = []

    def stand_in(command, variables, on_progress):
        asked.append((command, dict(variables)))
        return {
            "measured_bytes": {"train": 1, "test": 1},
            "process_bytes_per_step": 2,
            "nodes_per_step": 3,
        }

    monkeypatch.setattr(module, "json_of", stand_in)
    monkeypatch.setattr(module, "does_not_apply", lambda: None)
    frame = process_growth(batch_sizes=[4, 256])
    assert len(frame) == len(asked) == 8
    assert not frame.duplicated(["kind", "batch_size", "threshold"]).any()
    for row, (command, variables) in zip(frame.itertuples(), asked, strict=True):
        options = dict(pairwise(command))
        assert options["--batch-size"] == str(row.batch_size)
        assert options["--steps"] == str(row.steps)
        assert options["--test-share"] == {"train": "0", "test": "1"}[row.kind]
        assert (VARIABLE in variables) == row.threshold
        line = shell_command(row.kind, row.batch_size, threshold=row.threshold)
        assert shlex.split(line)[-len(command) + 3 :] == command[3:]
        assert command[2] == memory.__module__


def test_test_batches_are_few_enough_for_the_memory_they_keep():
    kept = {n: 90_560 * n * steps_of("test", n) for n in BATCH_SIZES}
    assert max(kept.values()) < 300e6
    assert min(steps_of(kind, n) for kind in KINDS for n in BATCH_SIZES) >= 12


def test_a_process_that_nobody_wants_any_more_is_ended():
    before, seen = children(), []

    def on_progress():
        seen.append(children() - before)
        raise Cancelled

    with pytest.raises(Cancelled):
        json_of(python(SLEEP), {}, on_progress)
    [[pid]] = seen
    assert not psutil.pid_exists(pid)
    assert children() == before


def test_a_process_that_takes_too_long_is_ended():
    before, began = children(), time.monotonic()
    with pytest.raises(BnvizError, match="took longer than 0 s"):
        json_of(python(SLEEP), {}, ends_within_s=0.2)
    assert time.monotonic() - began < 30
    assert children() == before


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise SystemExit('no\\nsuch thing')", "status 1: such thing"),
        ("import os; os.kill(os.getpid(), 9)", "status -9: it printed nothing"),
        ("print('no JSON')", "printed no JSON"),
    ],
)
def test_errors_are_one_line_for_the_reader(code, said):
    with pytest.raises(BnvizError, match=said) as error:
        json_of(python(code), {})
    assert "\n" not in str(error.value)


def test_a_wrong_option_is_heard_from_the_command(monkeypatch):
    monkeypatch.setattr(module, "does_not_apply", lambda: None)
    with pytest.raises(BnvizError, match="batch"):
        process_growth(batch_sizes=[-4], kinds=["train"])


def test_another_library_is_named_and_nothing_is_started(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("musl", "1.2"))
    monkeypatch.setattr(module, "json_of", lambda *_: pytest.fail("a process was started"))
    with pytest.raises(BnvizError, match="with musl"):
        process_growth()
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert "another C library" in does_not_apply()


def test_the_recorded_growth_is_whole_and_shows_what_the_page_says():
    record = recorded()
    frame = record.frame.set_index(["kind", "batch_size", "threshold"])
    assert len(frame) == len(KINDS) * len(BATCH_SIZES) * 2 and frame.index.is_unique
    assert record.command == "python -m scripts.record_memory"
    assert (frame.loc["train"]["tensor_bytes"] == 128).all()
    for size in BATCH_SIZES:
        assert frame.loc["test", size, False]["tensor_bytes"] == pytest.approx(
            90_556 * size, rel=0.01
        )
    for kind, size in (("train", 64), ("train", 256)):  # holes, not tensors
        default, apart = (frame.loc[kind, size, on]["process_bytes"] for on in (False, True))
        assert default > 2 * apart > 0
    assert module.RECORDED_PATH.stat().st_size < 10_000
