"""What the benchmarks share: the path to bnviz, options, a small table, medians of ratios.

Importing it makes `bnviz` importable from a checkout that is not installed.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))


def parser(doc: str) -> argparse.ArgumentParser:
    """A parser with the first line of `doc` as its description and ``--json``."""
    result = argparse.ArgumentParser(description=doc.splitlines()[0])
    result.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return result


def show(rows: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    """Print `rows` as JSON or as a table of the first row's columns."""
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    names = list(rows[0])
    lines = [names, *([_text(row.get(name, "")) for name in names] for row in rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(names))]
    for line in lines:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def median_ratio(above: Iterable[float], below: Iterable[float]) -> float:
    """Median over the rounds of (above / below in the same round)."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of `values` lies (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def use_threads(count: int) -> None:
    """Let torch compute with `count` threads in this process."""
    torch.set_num_threads(count)
