"""The commands `quirks` and `log`."""

import json
import subprocess
import sys

import pytest

from bnviz import data
from bnviz.subjects.note.quirk_settings import NONE
from tests.command_line import bnviz


def test_quirks_prints_one_document_with_rows_effects_and_verdicts(on_the_sample):
    done = bnviz(
        "quirks", "--seeds", "3", "--steps", 100, "--settings", "plain_attributes", "--json"
    )
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert [(row["setting"], row["seed"]) for row in document["frame"]] == [
        (NONE, 3), ("plain_attributes", 3),
    ]  # fmt: skip
    assert document["steps"] == 100 and document["seeds"] == [3]
    assert list(document["verdicts"]) == ["plain_attributes"]
    assert "when the network is saved and loaded" in document["verdicts"]["plain_attributes"]
    lost = next(e for e in document["effects"] if e["measure"] == "reload_change")
    before, after = (document["frame"][1][k] for k in ("eval_accuracy", "reloaded_accuracy"))
    assert lost["difference"] == pytest.approx(after - before)
    assert lost["spread"] is None  # one seed has none


def test_quirks_prints_a_table_for_people(on_the_sample):
    done = bnviz("quirks", "--seeds", "0", "--steps", 100, "--settings", "loss_divided_twice")
    assert done.exit_code == 0
    head, first, second, *rest = done.stdout.splitlines()
    assert head.split()[:3] == ["quirks", "on", "loss"]
    assert first.split()[0] == NONE and second.split()[0] == "loss_divided_twice"
    assert "loss_divided_twice: The printed loss is 16 times too small." in rest


def test_log_prints_the_note_s_lines_beside_the_replay(monkeypatch, sample):
    from dataclasses import replace

    few = replace(sample, train_images=sample.train_images[:400],
                  train_labels=sample.train_labels[:400], test_images=sample.test_images[:100],
                  test_labels=sample.test_labels[:100])  # fmt: skip
    monkeypatch.setattr(data, "load", lambda *_name, **_options: few)
    done = bnviz("log", "--epochs", 2, "--no-loops", "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert [row["epoch"] for row in document["epochs"]] == [1, 2]
    assert [line["loss"] for line in document["printed"]] == [0.194394, 0.146268]
    for row in document["epochs"]:
        assert row["printed_loss"] == pytest.approx(row["mean_loss"] / 4)
    table = bnviz("log", "--epochs", 1, "--no-loops").stdout.splitlines()
    assert len(table) == 2 and table[1].split()[:2] == ["1", "0.1944"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["quirks", "--seeds", "a"], "seeds: got 'a'; allowed: a whole number."),
        (["quirks", "--seeds", "1,1"], "seeds: got '1,1'"),
        (["quirks", "--steps", "5"], "steps: got 5; allowed: 100 to"),
        (["quirks", "--settings", "keep_grph"], "did you mean 'keep_graph'"),
        (["log", "--epochs", "9"], "epochs: got 9; allowed: 1 to 5"),
        (["log", "--epochs", "one"], "epochs: got 'one'"),
        (["log", "--seed", "-1"], "seed: got -1"),
    ],
)
def test_bad_input_is_one_line_and_status_2(arguments, said):
    done = bnviz(*arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    [line] = done.stderr.strip().splitlines()
    assert said in line


def test_the_bar_goes_to_stderr_and_the_document_to_stdout():
    done = subprocess.run(
        [sys.executable, "-m", "bnviz", "quirks", "--seeds=0", "--steps=100",
         "--settings=chained_mean", "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["frame"]
    assert "runs" in done.stderr
