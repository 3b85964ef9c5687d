"""A run that is killed at any moment opens, and commands take the newest weights it has a record of."""

import json
import re
import subprocess
import sys
from contextlib import contextmanager

import pytest

from bnviz.records.reading import latest_step
from bnviz.records.run_files import checksums
from bnviz.records.store import damage, open_run
from tests.command_line import bnviz
from tests.waiting import until

SETTINGS = {
    "dataset": "fashion-mnist-sample", "device": "cpu", "variants": ["builtin", "composite"],
    "steps": 1_000_000, "checkpoint_every": 150, "eval_every": 1_000_000,
}  # fmt: skip


@contextmanager
def training(tmp_path):
    """The folder of a run that trains in a process of its own, which is killed at the end."""
    (tmp_path / "config.json").write_text(json.dumps(SETTINGS))
    command = [sys.executable, "-m", "bnviz", "run", "--config", str(tmp_path / "config.json")]
    process = subprocess.Popen(
        [*command, "--save", str(tmp_path / "killed")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield tmp_path / "killed"
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("moment", ["20-builtin", "20-composite", "100-builtin", "150-composite"])
def test_a_killed_run_is_replayed_from_its_newest_weights(tmp_path, moment, on_the_sample):
    """As soon as these weights are on the disk, those of the other variant may not be."""
    with training(tmp_path) as folder:
        until((folder / "checkpoints" / f"{moment}.safetensors").exists, seconds=120, every=0.001)
    run = open_run(folder)
    assert (run.summary, damage(folder)) == (None, [])
    for variant in run.config.variants:
        newest = max(run.checkpoints(variant), default=None)
        if newest is None:
            continue
        assert latest_step(run.history, variant) >= newest
        done = bnviz("replay", folder, "--variant", variant, "--momentum", "0.5", "--json")
        assert done.exit_code == 0, done.stderr
        assert json.loads(done.stdout)["step"] == newest
        assert "cut off" not in done.stderr


@pytest.fixture
def cut_off(tmp_path):
    """A killed run with weights at 20 and 100 whose record of nn.BatchNorm ends at step 20."""
    with training(tmp_path) as folder:
        until((folder / "checkpoints" / "100-builtin.safetensors").exists, seconds=120)
    table = folder / "steps-builtin.arrow"
    _start, end, _sum = checksums(folder)[table.name][0]
    table.write_bytes(table.read_bytes()[: end + 100])
    return folder


def test_commands_take_the_newest_weights_that_the_record_covers_and_say_so(cut_off, on_the_sample):
    for command in (
        ["replay", cut_off, "--momentum", "0.5"],
        ["modes", cut_off],
        ["recalibrate", cut_off, "--batches", "2"],
    ):
        done = bnviz(*command, "--variant", "builtin", "--json")
        assert done.exit_code == 0, done.stderr
        assert json.loads(done.stdout)["step"] == 20
        (said,) = [line for line in done.stderr.splitlines() if "cut off" in line]
        newest, step = re.search(r"record of step (\d+) .* weights of step (\d+)", said).groups()
        assert (int(newest) >= 100, int(step)) == (True, 20)
    done = bnviz("replay", cut_off, "--variant", "builtin", "--step", newest)
    assert done.exit_code == 2
    assert "Choose step 20" in done.stderr
