"""A tick of the live pages at step 500 and at step 50,000: bytes, time, memory.

    python benchmarks/long_run.py [--ticks 30] [--steps 500 50000] [--json]

One process writes a synthetic history of two variants (random batch statistics, probes and memory
counts at the default cadences) into a folder, as a run does, and lets each page draw its figures
while ten more steps come between two ticks. Measured at each length: kB of the cards as they are
sent (JSON, before compression), time of a tick as elapsed and as CPU time, the time of a slider's
answer (a replay of the whole run at another momentum), and the process's own memory: anonymous
pages, so without the stream on the disk that is mapped.
"""

import gc
import json
import logging
import re
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from common import parser, percentile, show

from bnviz import figures
from bnviz.charts.card import Card, encode_card
from bnviz.charts.registry import figure_named
from bnviz.config import RunConfig
from bnviz.records.history import History
from bnviz.records.schema import CHANNELS, LAYERS, QUANTILES, RECORDED_STAGES
from bnviz.records.store import RunWriter, StoredRun
from bnviz.selection import Selection
from bnviz.training.run_view import RunView

MIB = 2**20
STEPS_A_TICK = 10
CHUNK = 1000  # synthetic steps written at once


class Synthetic:
    """A run that grows when it is told to."""

    def __init__(self, folder: Path, config: RunConfig):
        self.history: History = RunWriter(folder, "long", config).history
        self.config, self.steps = config, 0
        self._random = np.random.default_rng(0)

    def grow(self, count: int) -> None:
        """`count` more steps, a multiple of STEPS_A_TICK, with their probes."""
        steps = np.arange(self.steps + 1, self.steps + count + 1)
        probed = steps[steps % self.config.stages_every == 0]
        for variant in self.config.variants:
            means = self._random.normal(size=(2, count, CHANNELS)).astype(np.float32)
            self.history[f"steps-{variant}"].extend(
                step=steps, loss=2 * np.exp(-steps / 1e4) + self._random.random(count),
                ms=np.full(count, 3.0), batch_mean=means[0], batch_var=means[0] ** 2,
                running_mean=means[1], running_var=means[1] ** 2,
            )  # fmt: skip
            shape = (len(probed), len(LAYERS), len(RECORDED_STAGES), QUANTILES)
            values = np.sort(self._random.normal(size=shape), axis=-1)
            self.history[f"stages-{variant}"].extend(step=probed, quantiles=values)
            self.history[f"memory-{variant}"].extend(
                step=probed, kept_bytes=np.zeros(len(probed)), graph_nodes=np.zeros(len(probed))
            )
        self.history["process"].extend(
            step=probed, rss=np.full(len(probed), 5e8), own=np.full(len(probed), 3e8),
            device_allocated=np.zeros(len(probed)), device_reserved=np.zeros(len(probed)),
        )  # fmt: skip
        self.steps += count

    def grow_to(self, steps: int) -> None:
        """Up to so many steps."""
        while self.steps < steps:
            self.grow(min(CHUNK, steps - self.steps))


# Page to its figures, each with the fields of the selection that are others for it.
PAGES: dict[str, list[tuple[str, dict[str, object]]]] = {
    "Train": [
        ("training/curves", {}),
        ("activations/stages", {}),
        ("running_stats/running", {"channels": (0, 1)}),
        ("memory/kept", {}),
    ],
    "Activations": [
        ("activations/over_time", {"stage": "input"}),
        ("activations/over_time", {"stage": "scaled"}),
        ("activations/stages", {}),
        ("activations/shift", {}),
    ],
    "Running statistics": [
        ("running_stats/estimates", {}),
        ("running_stats/start", {}),
        ("running_stats/eps_share", {}),
    ],
}


def draw(run: RunView, page: str, momentum: float) -> list[Card]:
    """The figures of a page, as the server works them out when the browser asks."""
    return [
        figure_named(name).draw(
            run, Selection(variant="builtin", layer="conv2", momentum=momentum, **others)
        )
        for name, others in PAGES[page]
    ]


def sent(cards: list[Card]) -> int:
    """Bytes of the figures as they go to the browser."""
    return sum(len(json.dumps(encode_card(card))) for card in cards)


def anonymous_bytes() -> int:
    """Memory of this process that is no mapped file."""
    gc.collect()
    found = re.search(r"^Anonymous:\s+(\d+) kB", Path("/proc/self/smaps_rollup").read_text(), re.M)
    assert found is not None
    return 1024 * int(found[1])


def measure(synthetic: Synthetic, run: RunView, ticks: int) -> Iterator[dict[str, object]]:
    for name in PAGES:
        draw(run, name, 0.1)  # the page is open: what is new comes tick by tick
        elapsed, cpu, size = [], [], []
        for _ in range(ticks):
            synthetic.grow(STEPS_A_TICK)
            began, own = time.perf_counter(), time.thread_time()
            size.append(sent(draw(run, name, 0.1)))
            elapsed.append(time.perf_counter() - began)
            cpu.append(time.thread_time() - own)
        answers = []
        for momentum in (0.9, 0.5, 0.3, 0.03, 0.01):
            began = time.perf_counter()
            draw(run, name, momentum)
            answers.append(time.perf_counter() - began)
        yield {
            "page": name,
            "step": synthetic.steps,
            "kB a tick": statistics.median(size) / 1000,
            "ms, median": 1e3 * statistics.median(elapsed),
            "ms, p95": 1e3 * percentile(elapsed, 0.95),
            "CPU ms": 1e3 * statistics.median(cpu),
            "slider ms": 1e3 * statistics.median(answers),
        }


def main(arguments: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--ticks", type=int, default=30)
    options.add_argument("--steps", type=int, nargs="+", default=[500, 50_000])
    args = options.parse_args(arguments)
    logging.disable(logging.WARNING)  # of a Streamlit that has no page
    figures.load()
    config = RunConfig(variants=("composite", "builtin"), epochs=None, steps=100_000)
    rows: list[dict[str, object]] = []
    memory = []
    with tempfile.TemporaryDirectory() as folder:
        synthetic = Synthetic(Path(folder), config)
        run = RunView(
            "long", StoredRun("long", Path(folder) / "long", config, synthetic.history, None)
        )
        for steps in args.steps:
            synthetic.grow_to(steps)
            rows += measure(synthetic, run, args.ticks)
            memory.append(anonymous_bytes() / MIB)
    show([{**row, "MiB": memory[k // len(PAGES)]} for k, row in enumerate(rows)], args.json)
    if not args.json:
        print(f"Own memory: {memory[-1] - memory[0]:+.1f} MiB from the first length to the last.")


if __name__ == "__main__":
    main()
