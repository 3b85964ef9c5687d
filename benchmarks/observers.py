"""What watching costs: a Trainer that observes beside the same one that does not, batch 16.

    python benchmarks/observers.py [--rounds 20] [--steps 500] [--threads 1] [--json]

Both train the same variant on the same batches and take turns, in the middle of a run. The rows:
`records` writes the statistics of every step, quantiles of the activations and memory at every
tenth; `+ gradients` also the gradients there (opt-in); `+ evaluation` also evaluates on test images at the default cadence; `+ disk` also writes all
of it, and checkpoints, to a folder, as the app does. Cost: time with over time without, less one,
as the median over the rounds and of all rounds together.
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from common import median_ratio, parser, show, use_threads

from bnviz import data
from bnviz.config import RunConfig
from bnviz.records.store import RunWriter
from bnviz.training.trainer import Trainer

NEVER = 10_000_000
WARM_UP = 300  # past the early evaluations
KINDS = ("records", "+ gradients", "+ evaluation", "+ disk")


def config_of(variant: str, kind: str) -> RunConfig:
    own: dict[str, Any] = {"gradients": kind == "+ gradients"}
    if kind in ("records", "+ gradients"):
        own["eval_every"] = NEVER
    return RunConfig.parse(variants=variant, device="cpu", batch_size=16, epochs=20, **own)


def watched(config: RunConfig, kind: str, folder: Path) -> Trainer:
    if kind != "+ disk":
        return Trainer(config, data.load("fashion-mnist"))
    writer = RunWriter(folder, "watched", config)
    trainer = Trainer(config, data.load("fashion-mnist"), history=writer.history)
    trainer.on_checkpoint = writer.checkpoint
    return trainer


def seconds(trainer: Trainer, count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        trainer.step()
    return time.perf_counter() - began


def measure(variant: str, kind: str, rounds: int, steps: int) -> dict[str, object]:
    config = config_of(variant, kind)
    with (
        tempfile.TemporaryDirectory() as folder,
        watched(config, kind, Path(folder)) as watching,
        Trainer(config, data.load("fashion-mnist"), observers=()) as bare,
    ):
        for trainer in (watching, bare):
            seconds(trainer, WARM_UP)
        times = [(seconds(bare, steps), seconds(watching, steps)) for _ in range(rounds)]
        own_figure, of_gradients = watching.observing_share, watching.gradients_share
    without, with_it = zip(*times, strict=True)
    return {
        "variant": variant,
        "watched": kind,
        "bare ms": 1e3 * statistics.median(without) / steps,
        "watched ms": 1e3 * statistics.median(with_it) / steps,
        "cost, median %": 100 * (median_ratio(with_it, without) - 1),
        "cost, all %": 100 * (sum(with_it) / sum(without) - 1),
        "as the page says %": 100 * own_figure,
        "of it gradients %": 100 * of_gradients,
    }


def main(arguments: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=20)
    options.add_argument("--steps", type=int, default=500, help="of each trainer in a round")
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--variants", nargs="+", default=["builtin", "composite"])
    options.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    args = options.parse_args(arguments)
    use_threads(args.threads)
    rows = [
        {"threads": args.threads, **measure(variant, kind, args.rounds, args.steps)}
        for variant in args.variants
        for kind in args.kinds
    ]
    show(rows, args.json)


if __name__ == "__main__":
    main()
