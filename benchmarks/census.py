"""What watching a graph costs, and whether it costs more for a long chain: the note's LeNet.

    python benchmarks/census.py [--batches 16 64] [--rounds 30] [--chain 10000] [--threads 1] [--json]

The first row is a step of the Memory page's experiment: three networks, a quarter of the steps test
batches. Then one network alone: with `nn.BatchNorm`, which keeps no graph, and the note's. Two of
each take turns, one of them watched (`bnviz.census.graph_census.watch`; a look after each step, at all
attributes of the healthy one and at the running statistics of the others). The added share is the
median over the rounds of (watched / bare - 1). Last a long chain, where the time of a look is taken
apart: the 101st to 200th batch, and the last hundred.
"""

import statistics
import time

import torch
from common import median_ratio, parser, show, use_threads
from torch import nn
from torch.nn import functional as F

from bnviz.census.graph_census import GraphCensus, detach_statistics, watch
from bnviz.nn import LeNet
from bnviz.nn.state import STATISTICS
from bnviz.subjects.memory.experiment_config import LeakConfig
from bnviz.subjects.memory.memory_experiment import Experiment

STEPS = 20
TRAINING, TEST, HEALTHY = "training step", "test batch", "training step, nn.BatchNorm"


class Loop:
    """One network with a way to step it."""

    def __init__(self, batch: int, kind: str, watched: bool):
        healthy = kind == HEALTHY
        self.model = LeNet("builtin" if healthy else "note", momentum=0.9)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.01, fused=True)
        self.inputs, self.labels = torch.rand(batch, 1, 28, 28), torch.arange(batch) % 10
        only = None if healthy else STATISTICS
        self.kind, self.census = kind, watch(self.model, only=only) if watched else None

    def step(self) -> None:
        """A training step or a test batch, and a look if it is watched."""
        outputs = self.model(self.inputs)
        if self.kind != TEST:
            self.optimizer.zero_grad()
            F.cross_entropy(outputs, self.labels).backward()
            self.optimizer.step()
        if self.census is not None:
            self.census.update()

    def seconds(self) -> float:
        """Time of some steps; their graph is freed afterwards, untimed."""
        began = time.perf_counter()
        for _ in range(STEPS):
            self.step()
        took = time.perf_counter() - began
        forget(self.model, self.census)
        return took


class Experiments(Loop):
    """The same for a whole experiment of three layers; a bare one has censuses that do not look."""

    def __init__(self, watched: bool):
        self.experiment = Experiment(LeakConfig(device="cpu"))
        self.experiment._prepare()
        self.sides, self.done = list(self.experiment._sides.values()), 0
        for side in self.sides:
            if not watched:
                side.census.close()
                side.census.update = lambda: None  # type: ignore[method-assign]

    def step(self) -> None:
        """One step of all networks."""
        self.done += 1
        self.experiment._step(self.done)

    def seconds(self) -> float:
        """Time of some steps; their graph is freed afterwards, untimed."""
        began = time.perf_counter()
        for _ in range(STEPS):
            self.step()
        took = time.perf_counter() - began
        for side in self.sides:
            forget(side.model, side.census)
        return took


def forget(model: nn.Module, census: GraphCensus | None) -> None:
    detach_statistics(model)
    if census is not None:
        census.recount()


def cost(kind: str, batch: int, bare: Loop, watched: Loop, rounds: int) -> dict[str, object]:
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(-3, rounds):
        turns = list(zip((bare, watched), times, strict=True))
        for loop, taken in turns if number % 2 else reversed(turns):
            seconds = loop.seconds()
            if number >= 0:
                taken.append(seconds)
    return {
        "what": kind,
        "batch": batch,
        "bare ms": 1e3 * statistics.median(times[0]) / STEPS,
        "watched ms": 1e3 * statistics.median(times[1]) / STEPS,
        "added %": 100 * (median_ratio(times[1], times[0]) - 1),
    }


def long_chain(length: int) -> list[dict[str, object]]:
    loop, times = Loop(2, TEST, True), []
    assert loop.census is not None
    for _ in range(length):
        began = time.perf_counter()
        loop.model(loop.inputs)
        passed = time.perf_counter()
        loop.census.update()
        times.append((passed - began, time.perf_counter() - passed))
    rows: list[dict[str, object]] = []
    for name, part in (("101st to 200th", times[100:200]), ("last hundred", times[-100:])):
        bare, look = (1e3 * statistics.median(each) for each in zip(*part, strict=True))
        row = {"what": f"{name} of {length:,} test batches", "batch": 2, "bare ms": bare}
        rows.append({**row, "watched ms": bare + look, "added %": 100 * look / bare})
    return rows


def main(arguments: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--batches", type=int, nargs="+", default=[16, 64])
    options.add_argument("--rounds", type=int, default=30)
    options.add_argument("--chain", type=int, default=10_000)
    options.add_argument("--threads", type=int, default=1)
    args = options.parse_args(arguments)
    use_threads(args.threads)
    rows = [cost("the experiment", 16, Experiments(False), Experiments(True), args.rounds)]
    rows += [
        cost(kind, batch, Loop(batch, kind, False), Loop(batch, kind, True), args.rounds)
        for batch in args.batches
        for kind in (HEALTHY, TRAINING, TEST)
    ]
    show(rows + long_chain(args.chain), args.json)


if __name__ == "__main__":
    main()
