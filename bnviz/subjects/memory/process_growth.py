"""Why a process grows more than its tensors: steps that keep their graph, in processes of their own.

A step leaves small nodes of autograd behind and frees large blocks around them. glibc's heap gives
memory back to the system from its end only, so a small block that lives on pins what is free before
it. With the environment variable MALLOC_MMAP_THRESHOLD_ set, blocks of at least that many bytes are
mappings of their own, which go back as soon as they are freed
(https://man7.org/linux/man-pages/man3/mallopt.3.html, M_MMAP_THRESHOLD). If the process then grows
by little more than its tensors, it was the holes.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from bnviz.errors import BnvizError
from bnviz.i18n import _

BATCH_SIZES = (4, 16, 64, 256)
KINDS = {"train": 0, "test": 1}
"""Training steps, or test batches as the note makes them (train mode, gradients on, no backward);
with the share of test batches among the steps."""
VARIABLE, THRESHOLD = "MALLOC_MMAP_THRESHOLD_", 65_536
STEPS = {"train": 60, "test": 30}
TEST_IMAGES = 3_000
"""Fewer steps where a test batch is large: some 90 kB an image stay, the image among them."""
LEAST_STEPS = 12
ENDS_WITHIN_S = 180.0
POLL_S = 0.05
COMMAND = "bnviz.subjects.memory.cli"
"""The module behind ``python -m bnviz memory``."""
RECORDED_PATH = Path(__file__).parents[2] / "assets" / "memory" / "process_growth.json"
COLUMNS = ("kind", "batch_size", "threshold", "steps", "tensor_bytes", "process_bytes", "nodes")


@dataclass(frozen=True)
class Recorded:
    """A measurement that is shipped, with what the page must say about it."""

    frame: pd.DataFrame
    command: str
    date: str
    machine: str


def recorded() -> Recorded:
    """The shipped measurement."""
    document = json.loads(RECORDED_PATH.read_text(encoding="utf-8"))
    frame = pd.DataFrame(document["rows"], columns=list(COLUMNS))
    return Recorded(frame, document["command"], document["date"], document["machine"])


def does_not_apply() -> str | None:
    """Why the check says nothing on this machine, or None where it does: Linux with glibc."""
    library, _version = platform.libc_ver()
    if sys.platform == "linux" and library == "glibc":
        return None
    return _(
        "The check needs Linux with glibc, whose allocator reads {variable}; this is {system} with "
        "{library}, where the variable does nothing."
    ).format(
        variable=VARIABLE,
        system=platform.system() or _("an unknown system"),
        library=library or _("another C library"),
    )


def steps_of(kind: str, batch_size: int) -> int:
    """How many steps are measured: enough for a slope, few enough for the memory they keep."""
    if kind == "train":
        return STEPS[kind]
    return max(LEAST_STEPS, min(STEPS[kind], TEST_IMAGES // batch_size))


def arguments(kind: str, batch_size: int) -> list[str]:
    """What follows ``python -m bnviz memory`` for steps of one of KINDS that keep their graph."""
    steps = str(steps_of(kind, batch_size))
    return [
        "--batch-size", str(batch_size), "--steps", steps, "--keep-graph", "--test-mode",
        "train", "--grad", "--test-share", str(KINDS[kind]), "--device", "cpu", "--json",
    ]  # fmt: skip


def shell_command(kind: str, batch_size: int, *, threshold: bool) -> str:
    """The same for a shell, with or without the threshold."""
    start = f"{VARIABLE}={THRESHOLD} " if threshold else ""
    return f"{start}python -m bnviz memory {' '.join(arguments(kind, batch_size))}"


def process_growth(
    progress: Callable[[int, int], None] = lambda done, parts: None,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    kinds: Sequence[str] = tuple(KINDS),
) -> pd.DataFrame:
    """Growth a step of process memory and of tensors, with glibc's default and with the threshold.

    One process after the other, each a fresh one; `progress(done, parts)` is called all the while
    and may raise, which ends the process at work. Columns: kind, one of KINDS; batch_size;
    threshold, whether it was set; steps; tensor_bytes, process_bytes and nodes, each a step.

    Raises BnvizError where there is no glibc, and with the last line of a process that failed.
    """
    reason = does_not_apply()
    if reason is not None:
        raise BnvizError(reason)
    parts = [(k, n, t) for n in batch_sizes for k in kinds for t in (False, True)]
    rows = []
    for done, (kind, batch_size, threshold) in enumerate(parts):
        command = [sys.executable, "-m", COMMAND, *arguments(kind, batch_size)]
        variables = {VARIABLE: str(THRESHOLD)} if threshold else {}
        said = json_of(command, variables, partial(progress, done, len(parts)))
        rows.append((
            kind, batch_size, threshold, steps_of(kind, batch_size), said["measured_bytes"][kind],
            said["process_bytes_per_step"], said["nodes_per_step"],
        ))  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


def json_of(
    command: Sequence[str],
    variables: Mapping[str, str],
    on_progress: Callable[[], None] = lambda: None,
    *,
    ends_within_s: float = ENDS_WITHIN_S,
) -> Any:
    """The JSON that a process prints, which is ended when `on_progress`, called all the while, raises.

    `variables` join the environment, from which the threshold of the caller is taken out. Raises
    BnvizError with its last line when it fails, is killed for lack of memory, takes longer than
    `ends_within_s` seconds or prints something else.
    """
    environment = {k: v for k, v in os.environ.items() if k != VARIABLE}
    shown = " ".join(["python", *command[1:]])
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, stdout=out, stderr=errors, stdin=subprocess.DEVNULL,
            cwd=Path(__file__).parents[3], env={**environment, **variables},
        )  # fmt: skip
        _wait_for(process, shown, on_progress, ends_within_s)
        if process.returncode != 0:
            said = _("{command} ended with status {status}: {line}")
            status, line = process.returncode, _last_line(errors)
            raise BnvizError(said.format(command=shown, status=status, line=line))
        out.seek(0)
        try:
            return json.loads(out.read())
        except json.JSONDecodeError as error:
            said = _("{command} printed no JSON: {error}")
            raise BnvizError(said.format(command=shown, error=error)) from None


def _wait_for(
    process: subprocess.Popen[bytes],
    shown: str,
    on_progress: Callable[[], None],
    ends_within_s: float,
) -> None:
    """Wait until a process ends; where it takes too long or `on_progress` raises, end it."""
    until = time.monotonic() + ends_within_s
    try:
        while process.poll() is None:
            on_progress()
            if time.monotonic() > until:
                said = _("{command} took longer than {seconds:.0f} s and was ended.")
                raise BnvizError(said.format(command=shown, seconds=ends_within_s))
            time.sleep(POLL_S)
    finally:
        process.kill()  # of one that has ended: nothing happens
        process.wait()


def _last_line(file: Any) -> str:
    file.seek(0)
    lines = file.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else _("it printed nothing")
