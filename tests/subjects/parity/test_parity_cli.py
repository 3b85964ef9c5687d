"""`parity` and `check`: whether a layer is what it should be."""

import json
import os
import subprocess
import sys

import pytest

from tests.command_line import bnviz
from tests.paths import ROOT

RIGHT = "from bnviz.nn import FusedBatchNorm2d as Right\n"
TURNED = """
from bnviz.nn import FusedBatchNorm2d

print("a module may print")

class Turned(FusedBatchNorm2d):
    def forward(self, x):
        print("and so may a layer")
        self.momentum, before = 1 - self.momentum, self.momentum
        y = super().forward(x)
        self.momentum = before
        return y

NotALayer = 3

class Odd(FusedBatchNorm2d):
    def __init__(self, width, height, depth):
        pass
"""


@pytest.fixture
def own_layers(tmp_path, monkeypatch):
    """A folder with modules of the reader, which is the working folder of the test."""
    (tmp_path / "right_layers.py").write_text(RIGHT)
    (tmp_path / "turned_layers.py").write_text(TURNED)
    (tmp_path / "broken_layers.py").write_text("import no_such_thing\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    yield tmp_path
    for name in ("right_layers", "turned_layers"):
        sys.modules.pop(name, None)


def test_parity_prints_every_case_and_all_agree():
    done = bnviz("parity", "--json")
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    names = [case["name"] for case in document["cases"]]
    assert len(set(names)) == len(names) == document["agree"] >= 200
    assert all(case["agrees"] is True for case in document["cases"])
    assert document["passed"] is True
    layers = {name.split(":")[0] for name in names}
    assert layers == {"BatchNorm1d", "BatchNorm2d", "FusedBatchNorm1d", "FusedBatchNorm2d"}
    assert list(document["costs"]) == ["composite", "fused"]
    for cost in document["costs"].values():
        assert cost["saved_bytes"] > 0 and cost["time_ratio"] > 0


def test_parity_that_fails_is_status_1_and_names_the_case(monkeypatch):
    from bnviz.nn import FusedBatchNorm2d

    forward = FusedBatchNorm2d.forward
    monkeypatch.setattr(FusedBatchNorm2d, "forward", lambda self, x: 1.5 * forward(self, x))
    done = bnviz("parity")
    assert done.exit_code == 1
    assert (
        "differs: FusedBatchNorm2d: conv 4x3x5x6, float32, train: output in pass 1" in done.stdout
    )
    assert "differs: FusedBatchNorm1d" not in done.stdout


def test_check_of_a_right_layer_is_status_0(own_layers):
    done = bnviz("check", "right_layers:Right", "--reference", "torch.nn.BatchNorm2d", "--json")
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["passed"], document["causes"]) == (True, [])
    assert document["fingerprint"]["normalizes_by"] == {
        "own": "biased", "reference": "biased", "same": True
    }  # fmt: skip
    assert all(case["agrees"] for case in document["cases"])
    table = bnviz("check", "right_layers.Right")
    assert table.exit_code == 0
    assert "FusedBatchNorm2d does what BatchNorm2d does: 104 of 104 cases agree" in table.stdout


def test_check_of_a_wrong_layer_is_status_1_and_names_the_cause(own_layers):
    """As a command: what the module prints must not spoil the document."""
    command = [sys.executable, "-m", "bnviz", "check", "turned_layers:Turned", "--json"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=own_layers,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    document = json.loads(done.stdout)
    assert document["passed"] is False
    assert [cause["cause"] for cause in document["causes"]] == ["momentum_weighs_old"]
    assert "a module may print" in done.stderr
    assert any(case["agrees"] is False and case["detail"] for case in document["cases"])


def test_check_without_json_prints_fingerprint_cases_and_causes():
    done = bnviz("check", "bnviz.nn:NoteBatchNorm")
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert lines[0].split()[:2] == ["property", "NoteBatchNorm"]
    assert any(line.startswith("graph of the batch") and line.endswith("NO") for line in lines)
    assert any(line.startswith("graph_kept: ") for line in lines)
    assert any(line.startswith("not measured: fc 8x3, float32, affine=False") for line in lines)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere_at_all:Layer"], ["class", "nowhere_at_all", "cannot be imported"]),
        (["broken_layers:Layer"], ["broken_layers", "no_such_thing"]),
        (["turned_layers:Turnde"], ["turned_layers has no Turnde", "it has", "Turned"]),
        (["turned_layers:NotALayer"], ["NotALayer", "torch.nn.Module"]),
        (["turned_layers:Odd"], ["Odd(num_features)", "(num_features, num_dims)", "height"]),
        (["Layer"], ["class: got 'Layer'", "module:Class"]),
        (["torch.nn:BatchNorm2d", "--reference", "torch.nn.BatchNorm1d"], ["reference", "2, 3"]),
        (["torch.nn:BatchNorm2d", "--reference", "torch.nn.Batch"], ["reference", "no Batch"]),
    ],
    ids=lambda v: " ".join(v)[:40],
)
def test_bad_input_of_check_is_status_2_and_one_clear_line(own_layers, arguments, words):
    done = bnviz("check", *arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    [line] = [line for line in done.stderr.splitlines() if line.startswith("Error")]
    for word in words:
        assert word in line
