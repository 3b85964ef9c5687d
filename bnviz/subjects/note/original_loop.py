"""The note's own training loop beside this project's step, timed in turns in a process of its own.

    python -m bnviz.subjects.note.original_loop [--batch-size 4] [--steps 60] [--rounds 6]

The note's loop: torchvision's FashionMNIST with ToTensor, a DataLoader with two workers, Adam as it
comes, `loss.item()` at each step. A line of JSON for each round that is done; the last has the
result. In a process of its own because a DataLoader's workers should not be children of a server.
"""

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

from bnviz import data
from bnviz.config import RunConfig
from bnviz.errors import RunError
from bnviz.i18n import _
from bnviz.nn import LeNet
from bnviz.training.steps import Images, batches, build_model, build_optimizer, train_step
from bnviz.training.tasks import Progress, no_progress

WORKERS = 2
STEPS, ROUNDS = 60, 6
Step = Callable[[], object]


def torchvision_folder(root: Path) -> Path:
    """The files of bnviz's data set, laid out under `root` as torchvision wants them."""
    source = data.load("fashion-mnist").folder
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for file in data.FILES:
        packed = source / f"{file}.gz"
        content = gzip.decompress(packed.read_bytes()) if packed.is_file() else None
        (raw / file).write_bytes(content or (source / file).read_bytes())
    return root


def note_loop(root: Path, batch_size: int) -> Step:
    """One step of the note's loop, its DataLoader running on the files under `root`."""
    from torch.utils.data import DataLoader
    from torchvision.datasets import FashionMNIST
    from torchvision.transforms import ToTensor

    images = FashionMNIST(str(root), train=True, download=False, transform=ToTensor())
    loader = DataLoader(images, batch_size=batch_size, shuffle=True, num_workers=WORKERS)
    coming = _endless(loader)
    net, loss_of = LeNet("builtin"), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    sums = [0.0]

    def step() -> None:
        inputs, labels = next(coming)
        loss = loss_of(net(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        sums[0] += loss.item()

    return step


def _endless(loader: object) -> Iterator[list[Tensor]]:
    while True:
        yield from loader  # type: ignore[misc]


def own_loop(batch_size: int) -> Step:
    """One step of this project on the same images: data as one tensor, fused Adam."""
    config = RunConfig.parse(variants="builtin", device="cpu", batch_size=batch_size)
    images = Images(data.load("fashion-mnist"), torch.device("cpu"))
    coming = batches(images, config)
    model = build_model(config, "builtin", images.train.device)
    optimizer = build_optimizer(config, model, images.train.device)

    def step() -> float:
        return train_step(model, optimizer, *next(coming)).item()

    return step


def seconds(step: Step, count: int) -> float:
    """How long so many steps take."""
    began = time.perf_counter()
    for _number in range(count):
        step()
    return time.perf_counter() - began


def compare_loops(
    batch_size: int, progress: Progress = no_progress, *, steps: int = STEPS, rounds: int = ROUNDS
) -> dict[str, float]:
    """Both loops in turns, in a process of its own: note_ms, own_ms (medians) and ratio.

    `ratio` is the median over the rounds of the note's time over ours. `progress` hears of each
    round; what it raises ends the process. Raises RunError when the process fails.
    """
    command = [
        sys.executable, "-m", __name__, f"--batch-size={batch_size}", f"--steps={steps}",
        f"--rounds={rounds}",
    ]  # fmt: skip
    root = Path(__file__).parents[3]
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            command, cwd=root, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        assert process.stdout is not None
        result: dict[str, float] = {}
        try:
            for line in process.stdout:
                result = json.loads(line)
                progress(int(result.pop("round")), rounds)
        except BaseException:
            process.terminate()
            raise
        if process.wait() or not result:
            errors.seek(0)
            reason = (errors.read().strip().splitlines() or [""])[-1]
            raise RunError(
                _("The note's own loop could not be timed: {reason}. Is torchvision there?").format(
                    reason=reason
                )
            )
    return result


def main() -> None:
    """Time both loops and print a line of JSON a round."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--batch-size", type=int, default=4)
    options.add_argument("--steps", type=int, default=STEPS, help="of each loop in a round")
    options.add_argument("--rounds", type=int, default=ROUNDS)
    args = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        theirs = note_loop(torchvision_folder(Path(folder)), args.batch_size)
        ours = own_loop(args.batch_size)
        for loop in (theirs, ours):
            seconds(loop, args.steps)  # workers start, torch warms up
        times = []
        for number in range(1, args.rounds + 1):
            times.append([1e3 * seconds(loop, args.steps) / args.steps for loop in (theirs, ours)])
            note_ms, own_ms = (median(row[k] for row in times) for k in (0, 1))
            ratio = median(note / own for note, own in times)
            found = {"round": number, "note_ms": note_ms, "own_ms": own_ms, "ratio": ratio}
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
