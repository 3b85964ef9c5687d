"""Replay the first line of the note's printed log: batch 4, nn.BatchNorm, Adam, lr 0.01, one epoch.

    python benchmarks/note_log.py [--seed 0] [--threads 1] [--json]

The note prints ``epoch 1, train_loss 0.194394`` and ``acc: 0.789400``. Its loss is a mean divided
by the batch size once more, and its accuracy is measured in train mode, each image in the company
of three others. The same weights are then measured as they should be.
"""

import copy
import time

from common import parser, show, use_threads

from bnviz import data
from bnviz.analysis.passes import evaluate
from bnviz.config import RunConfig
from bnviz.train.schema import steps_table
from bnviz.train.trainer import Trainer

BATCH = 4
NEVER = 10_000_000
NOTE = {"mean CE / batch size": 0.194394, "accuracy, train mode, batch 4": 0.7894}


def train(seed: int) -> Trainer:
    quiet = dict.fromkeys(("stages_every", "memory_every", "eval_every"), NEVER)
    config = RunConfig.parse(
        variants="builtin", device="cpu", batch_size=BATCH, epochs=1, lr=0.01, seed=seed, **quiet
    )
    with Trainer(config, data.load("fashion-mnist")) as trainer:
        while not trainer.done:
            trainer.step()
        trainer.flush()
    return trainer


def measure(trainer: Trainer) -> dict[str, float]:
    loss = float(trainer.history[steps_table("builtin")].column("loss").mean())
    test = {
        "images": trainer._images.test,
        "labels": trainer._images.test_labels,
    }

    def accuracy(mode: str, batch: int) -> float:
        twin = copy.deepcopy(trainer.runs["builtin"].model)  # train mode moves the statistics
        return evaluate(twin, **test, mode=mode, batch_size=batch).accuracy

    return {
        "mean CE": loss,
        "mean CE / batch size": loss / BATCH,
        "accuracy, train mode, batch 4": accuracy("train", BATCH),
        "accuracy, train mode, batch 256": accuracy("train", 256),
        "accuracy, eval mode": accuracy("eval", 1000),
    }


def main(arguments: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--threads", type=int, default=1)
    args = options.parse_args(arguments)
    use_threads(args.threads)
    began = time.monotonic()
    figures = measure(train(args.seed))
    rows = [
        {"figure": name, "measured": value, "the note": NOTE.get(name, "")}
        for name, value in figures.items()
    ]
    rows.append({"figure": "seconds", "measured": time.monotonic() - began, "the note": 50.5})
    show(rows, args.json)


if __name__ == "__main__":
    main()
