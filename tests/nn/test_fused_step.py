"""The benchmark of whole training steps runs and says what it compares."""

import importlib.util
import json

import pytest
import torch

from bnviz.nn import VARIANTS
from tests.paths import ROOT

SCRIPT = ROOT / "benchmarks" / "fused_step.py"


@pytest.fixture
def benchmark_main():
    spec = importlib.util.spec_from_file_location("fused_step", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    threads = torch.get_num_threads()
    yield module.main
    torch.set_num_threads(threads)


def test_every_hand_written_variant_is_timed_beside_the_builtin(benchmark_main, capsys):
    benchmark_main(["--batch", "2", "4", "--rounds", "1", "--threads", "1", "--json"])
    rows = json.loads(capsys.readouterr().out)
    timed = ["builtin", *(key for key, variant in VARIANTS.items() if variant.hand_written)]
    assert [(row["batch"], row["variant"]) for row in rows] == [
        (b, v) for b in (2, 4) for v in timed
    ]
    assert all(row["ms"] > 0 and row["threads"] == 1 for row in rows)
    assert [row["ratio"] for row in rows if row["variant"] == "builtin"] == [1, 1]


def test_the_table_names_its_columns(benchmark_main, capsys):
    benchmark_main(["--batch", "2", "--rounds", "1", "--variants", "fused"])
    heading, *rows = capsys.readouterr().out.splitlines()
    assert "ms a step" in heading and len(rows) == 2
