"""Images a second: the note's own training loop beside bnviz's Trainer, nn.BatchNorm, batch 16.

    python benchmarks/throughput.py [--rounds 20] [--steps 150] [--threads 1 2] [--json]

The note's loop: torchvision's FashionMNIST with ToTensor, DataLoader with two workers, Adam as it
comes, `loss.item()` at each step. bnviz: one variant with its observers at their default cadence.
Both train the same LeNet on the same files and take turns; the workers of the DataLoader have
started before the clock does. A third row is the limit that no loop around this network can pass:
forward and backward alone, on one batch that is already there, without optimizer. Ratio: median
over the rounds.
"""

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from common import median_ratio, parser, show, use_threads
from torch import nn

from bnviz import data
from bnviz.config import RunConfig
from bnviz.nn import LeNet
from bnviz.subjects.note.original_loop import note_loop, seconds, torchvision_folder
from bnviz.training.trainer import Trainer

BATCH = 16


def network_alone() -> Callable[[], None]:
    """Forward and backward of the same network, and nothing else."""
    net, loss_of = LeNet("builtin"), nn.CrossEntropyLoss()
    inputs, labels = torch.rand(BATCH, 1, 28, 28), torch.arange(BATCH) % 10
    parameters = list(net.parameters())

    def step() -> None:
        torch.autograd.grad(loss_of(net(inputs), labels), parameters)

    return step


def measure(root: Path, rounds: int, steps: int, threads: int) -> list[dict[str, object]]:
    use_threads(threads)
    config = RunConfig(variants=("builtin",), device="cpu", batch_size=BATCH, epochs=10)
    names = ("the note's loop", "bnviz", "the network alone")
    times: dict[str, list[float]] = {name: [] for name in names}
    with Trainer(config, data.load("fashion-mnist")) as trainer:
        loops = dict(
            zip(names, (note_loop(root, BATCH), trainer.step, network_alone()), strict=True)
        )
        for loop in loops.values():
            seconds(loop, steps)
        for _ in range(rounds):
            for name, loop in loops.items():
                times[name].append(seconds(loop, steps))
    return [
        {
            "threads": threads,
            "loop": name,
            "ms a step": 1e3 * statistics.median(values) / steps,
            "images/s": steps * BATCH / statistics.median(values),
            "times as fast": median_ratio(times[names[0]], values),
        }
        for name, values in times.items()
    ]


def main(arguments: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=20)
    options.add_argument("--steps", type=int, default=150, help="of each loop in a round")
    options.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    args = options.parse_args(arguments)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        root = torchvision_folder(Path(folder))
        for threads in args.threads:
            rows += measure(root, args.rounds, args.steps, threads)
    show(rows, args.json)


if __name__ == "__main__":
    main()
