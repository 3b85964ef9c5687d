"""The command `memory`: what it prints is what the experiment keeps."""

import json
import sys

import psutil
import pytest

from tests.command_line import bnviz

SAMPLE = ("--dataset", "fashion-mnist-sample", "--device", "cpu")


def memory(*arguments):
    return bnviz("memory", *arguments, *SAMPLE)


def document(*arguments):
    done = memory(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_the_document_has_prediction_and_measurement_by_layer_and_operation():
    found = document("--batch-size", 16, "--steps", 20, "--test-share", 0.5)
    kept = sum(row["bytes"] for row in found["layers"])
    assert found["predicted_bytes_per_step"] == found["measured_bytes_per_step"] == kept / 20
    assert found["predicted_bytes"] == {"train": 128, "test": 1_448_888}
    assert found["measured_bytes"] == {"train": 128, "test": 1_448_888}
    assert found["nodes_per_step"] == sum(row["nodes"] for row in found["layers"]) / 20
    assert {row["layer"] for row in found["layers"]} > {"conv.0", "conv.1", "fc.1"}
    assert {row["operation"] for row in found["layers"]} > {"ConvolutionBackward0", "PowBackward0"}
    # Every second step is a test batch, and the first of all keeps 64 bytes less.
    kept = [(s // 2) * 1_448_888 + (s - s // 2) * 128 - 64 for s in range(3_000)]
    assert found["full_at_step"]["2 GB"] == next(s for s in range(3_000) if kept[s] > 2e9)


def test_what_the_process_grows_by_is_a_growth():
    found = document("--batch-size", 64, "--steps", 20, "--test-share", 1)
    assert 0 < found["process_bytes_per_step"] < psutil.Process().memory_info().rss / 20
    assert found["process_memory"] == ("own" if sys.platform == "linux" else "rss")
    assert found["process_bytes_per_step"] == pytest.approx(
        found["measured_bytes_per_step"], rel=1.5
    )


@pytest.mark.parametrize(
    "cure", [["--detach"], ["--test-mode", "eval"], ["--no-grad"]], ids=lambda cure: cure[-1]
)
def test_any_one_cure_keeps_nothing_of_a_test_batch(cure):
    found = document("--steps", 12, "--test-share", 0.25, *cure)
    assert found["predicted_bytes"]["test"] == found["measured_bytes"]["test"] == 0
    assert found["predicted_bytes_per_step"] == found["measured_bytes_per_step"]


def test_people_read_a_table():
    lines = memory("--steps", 8, "--test-share", 1).stdout.splitlines()
    assert lines[0].startswith("note, batch size 16, 8 steps. All 8 steps are done.")
    assert "kept a test batch: 1,448,888 bytes predicted, 90,556 an image" in lines
    assert any(
        line.startswith("full of these tensors alone at step: 2 GB 1,381;") for line in lines
    )
    assert any(line.split()[:2] == ["conv.1", "PowBackward0"] for line in lines)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--batch-size", 1], "batch_size: got '1'"),
        (["--budget-mib", 900_000], "budget_mib: got 900,000 MiB, but this machine has"),
        (["--batch-size", 512, "--budget-mib", 10], "one step of all networks saves 44.7 MiB"),
        (["--test-mode", "test"], "test_mode: got 'test'"),
    ],
)
def test_bad_input_is_one_line_and_status_2(arguments, said):
    done = memory(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    [line] = done.stderr.strip().splitlines()
    assert said in line
