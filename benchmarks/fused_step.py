"""Time a whole LeNet training step with each norm beside nn.BatchNorm.

    python benchmarks/fused_step.py [--batch 16 256] [--rounds 200] [--threads 2] [--json]

All variants take turns in one process, a few steps each, so that a busy machine slows all of them
alike. A ratio is the median over the rounds of (variant / builtin in the same round). Saved: what a
forward pass keeps for its backward pass, images included and weights left out.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[1]))  # a checkout that is not installed

from bnviz.nn import VARIANTS, LeNet

REFERENCE = "builtin"
STEPS_A_TURN = 3


def training_step(norm: str, images: torch.Tensor, labels: torch.Tensor) -> Callable[[], None]:
    options = {"keep_graph": False} if norm == "note" else None  # else the graph grows for ever
    model = LeNet(norm, norm_options=options)
    model.reset_parameters(torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, fused=True)

    def step() -> None:
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def measure(norms: list[str], batch: int, rounds: int) -> dict[str, list[float]]:
    """Milliseconds a step of each norm, one figure a round."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(batch, 1, 28, 28, generator=generator)
    labels = torch.randint(10, (batch,), generator=generator)
    steps = {norm: training_step(norm, images, labels) for norm in norms}
    times: dict[str, list[float]] = {norm: [] for norm in norms}
    warm_up = 3
    for number in range(-warm_up, rounds):
        for norm, step in steps.items():
            began = time.perf_counter()
            for _ in range(STEPS_A_TURN):
                step()
            if number >= 0:
                times[norm].append(1e3 * (time.perf_counter() - began) / STEPS_A_TURN)
    return times


def saved_mib(norm: str, batch: int) -> float:
    """MiB of distinct storages that a forward pass of LeNet keeps for its backward pass."""
    model = LeNet(norm, norm_options={"keep_graph": False} if norm == "note" else None)
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    sizes: dict[int, int] = {}
    kept: list[torch.Tensor] = []  # alive until the end, so that no address comes twice

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            sizes[storage.data_ptr()] = storage.nbytes()
        kept.append(tensor.detach())  # the tensor itself would be a reference cycle
        return kept[-1]

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        F.cross_entropy(model(torch.rand(batch, 1, 28, 28)), torch.zeros(batch, dtype=torch.long))
    return sum(sizes.values()) / 2**20


def compare(norms: list[str], batch: int, rounds: int, threads: int) -> list[dict[str, object]]:
    times = measure(norms, batch, rounds)
    return [
        {
            "threads": threads,
            "batch": batch,
            "variant": norm,
            "ms": statistics.median(values),
            "ratio": statistics.median(
                a / b for a, b in zip(values, times[REFERENCE], strict=True)
            ),
            "saved_mib": saved_mib(norm, batch),
        }
        for norm, values in times.items()
    ]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, nargs="+", default=[16, 256], help="batch sizes")
    parser.add_argument(
        "--rounds", type=int, default=200, help="turns of each variant, fewer beyond batch 32"
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[torch.get_num_threads()])
    parser.add_argument(
        "--variants",
        nargs="+",
        choices=list(VARIANTS),
        default=[key for key, variant in VARIANTS.items() if variant.hand_written],
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    args = parser.parse_args(arguments)
    norms = [REFERENCE, *(norm for norm in args.variants if norm != REFERENCE)]
    rows = []
    for threads in args.threads:
        torch.set_num_threads(threads)
        for batch in args.batch:
            rounds = max(1, round(args.rounds * min(1, 32 / batch)))  # as long for any batch
            rows += compare(norms, batch, rounds, threads)
    if args.json:
        print(json.dumps(rows, indent=2))
        return
    print(
        f"{'threads':>7} {'batch':>6} {'variant':<10} {'ms a step':>9} {'of builtin':>10} {'saved MiB':>9}"
    )
    for row in rows:
        print(
            f"{row['threads']:>7} {row['batch']:>6} {row['variant']:<10} "
            f"{row['ms']:>9.2f} {row['ratio']:>10.2f} {row['saved_mib']:>9.2f}"
        )


if __name__ == "__main__":
    main()
