"""What is shipped of the note's page: ablation, replayed log, and the questions on the recorded run."""

import json
import os
import platform
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path

import pandas as pd

from bnviz.subjects.note.ablation import Bench
from bnviz.subjects.note.printed_log import Replay

FOLDER = Path(__file__).parents[2] / "assets" / "note"
BENCH_FILE, LOG_FILE = FOLDER / "quirks.json", FOLDER / "log.json"
ANSWERS_FILE = FOLDER / "answers.json"
VARIANT, STEP = "builtin", 400
"""Of the recorded run, for which the questions are measured beforehand: a first visit need not wait."""


@cache
def recorded_bench() -> Bench:
    """The ablation at its defaults."""
    return Bench.from_json(BENCH_FILE.read_text())


@cache
def recorded_log() -> Replay:
    """Five epochs of the note's log, replayed."""
    return Replay.from_json(LOG_FILE.read_text())


@dataclass(frozen=True)
class RecordedAnswers:
    """What `bnviz.subjects.note.questions` measures on the recorded run."""

    estimator_accuracies: pd.DataFrame
    accuracy_by_batch_size: pd.DataFrame
    made: dict[str, str]


@cache
def recorded_answers() -> RecordedAnswers:
    """Those of VARIANT at STEP."""
    document = json.loads(ANSWERS_FILE.read_text())
    made = document.pop("made")
    return RecordedAnswers(**{n: pd.DataFrame(rows) for n, rows in document.items()}, made=made)


def made(command: str) -> dict[str, str]:
    """How, when and where something was made, for what is shipped."""
    import torch

    return {
        "command": command,
        "date": date.today().isoformat(),
        "machine": f"{os.cpu_count()}-core {platform.machine()} CPU, torch {torch.__version__}",
    }
