"""One epoch of the hand-written layers and nn.BatchNorm in lock-step on the real 60,000 images.

    python benchmarks/epoch.py [--seeds 0,1,2] [--batch 16] [--threads 1] [--json]

Accuracy on the 10,000 test images after the epoch, in both modes, for each seed; then how far the
losses of the hand-written layers are from those of nn.BatchNorm on the same batches: over the first
20 steps and from step 200 to 300 in float32, over 100 steps in float64.
"""

import time

import numpy as np
from common import parser, show, use_threads

from bnviz import data
from bnviz.config import RunConfig
from bnviz.records.schema import MODES, steps_table
from bnviz.training.trainer import Trainer

VARIANTS = ("composite", "fused", "builtin")
NEVER = 10_000_000  # the loss of each step is all that is wanted until the end


def train(**settings: object) -> Trainer:
    """A finished run on the real images."""
    quiet = dict.fromkeys(("stages_every", "memory_every", "eval_every"), NEVER)
    config = RunConfig.parse(variants=VARIANTS, device="cpu", **quiet, **settings)
    with Trainer(config, data.load("fashion-mnist")) as trainer:
        while not trainer.done:
            trainer.step()
        trainer.finish()
    return trainer


def accuracies(trainer: Trainer) -> dict[str, dict[str, float]]:
    """Variant to mode to the accuracy on all test images at the end."""
    table = trainer.history["evaluations"]
    last = table.column("step") == trainer.step_count
    columns = (table.column(name)[last] for name in ("variant", "mode", "accuracy"))
    result: dict[str, dict[str, float]] = {variant: {} for variant in VARIANTS}
    for variant, mode, accuracy in zip(*columns, strict=True):
        result[VARIANTS[variant]][MODES[mode]] = round(float(accuracy), 4)
    return result


def differences(trainer: Trainer) -> dict[str, np.ndarray]:
    """Distance of each hand-written variant's loss from the built-in one's at each step."""
    loss = {v: trainer.history[steps_table(v)].column("loss") for v in VARIANTS}
    return {v: np.abs(loss[v] - loss["builtin"]) for v in VARIANTS if v != "builtin"}


def one_seed(seed: int, batch: int) -> list[dict[str, object]]:
    began = time.monotonic()
    single = train(epochs=1, batch_size=batch, seed=seed)
    seconds = time.monotonic() - began
    double = differences(train(steps=100, batch_size=batch, seed=seed, dtype="float64"))
    parted, reached = differences(single), accuracies(single)
    return [
        {
            "seed": seed,
            "variant": variant,
            "eval mode": reached[variant]["eval"],
            "train mode": reached[variant]["train"],
            "f32, steps 1-20": _largest(parted, variant, 0, 20),
            "f32, steps 200-300": _largest(parted, variant, 199, 300),
            "f64, steps 1-100": _largest(double, variant, 0, 100),
            "seconds, all three": round(seconds, 1),
        }
        for variant in VARIANTS
    ]


def _largest(parted: dict[str, np.ndarray], variant: str, start: int, stop: int) -> float:
    return float(parted[variant][start:stop].max()) if variant in parted else 0.0


def main(arguments: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--seeds", default="0,1,2", help="separated by commas")
    options.add_argument("--batch", type=int, default=16, help="batch size")
    options.add_argument("--threads", type=int, default=1)
    args = options.parse_args(arguments)
    use_threads(args.threads)
    rows = [row for seed in args.seeds.split(",") for row in one_seed(int(seed), args.batch)]
    show(rows, args.json)


if __name__ == "__main__":
    main()
