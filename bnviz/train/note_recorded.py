"""What is shipped of the note's page: the bug bench and the replayed log, made beforehand."""

import os
import platform
from datetime import date
from functools import cache
from pathlib import Path

from bnviz.train.note_log import Replay
from bnviz.train.quirk_bench import Bench

FOLDER = Path(__file__).parents[1] / "assets" / "note"
BENCH_FILE, LOG_FILE = FOLDER / "quirks.json", FOLDER / "log.json"


@cache
def recorded_bench() -> Bench:
    """The bug bench at its defaults."""
    return Bench.from_json(BENCH_FILE.read_text())


@cache
def recorded_log() -> Replay:
    """Five epochs of the note's log, replayed."""
    return Replay.from_json(LOG_FILE.read_text())


def made(command: str) -> dict[str, str]:
    """How, when and where something was made, for what is shipped."""
    import torch

    return {
        "command": command,
        "date": date.today().isoformat(),
        "machine": f"{os.cpu_count()}-core {platform.machine()} CPU, torch {torch.__version__}",
    }
