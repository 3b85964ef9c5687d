"""Train mode against eval mode: how long the answers of the page take.

    python benchmarks/modes.py [--repeats 5] [--presses 12] [--json]

On the recorded run's nn.BatchNorm, real test images, one core:

- twin: 10,000 images through both modes in batches of 16
- all layers: the same with the difference after each layer, which has both passes in it
- companies: one image in 200 companies of 16, together and one pass a company
- eps: from the key press on the slider until the figure of 1,000 images has the new predictions,
  in a browser
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from browser import LISTEN, chromium, new_page
from common import parser, percentile, show

from bnviz import data
from bnviz.analysis.company import companies, company, neighbours_of
from bnviz.analysis.modes import eval_side, layer_drift, train_side
from bnviz.analysis.passes import forward
from bnviz.nn.state import put_back
from bnviz.train.replays import model_at
from bnviz.train.store import recorded_run
from scripts.serving import serving


def seconds(work: Callable[[], object], repeats: int) -> list[float]:
    """Seconds of each of so many calls."""
    taken = []
    for _repeat in range(repeats):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return taken


def computed(repeats: int) -> dict[str, list[float]]:
    """Seconds of what the page computes, the first call of each among them."""
    torch.set_num_threads(1)
    run, images_of = recorded_run(), data.load("fashion-mnist")
    model = model_at(run, "builtin", run.checkpoints("builtin")[-1])
    images, labels = torch.tensor(images_of.test_images), images_of.test_labels
    order = company(labels, "shuffled")

    def twin() -> None:
        train_side(model, images, batch_size=16, order=order)
        eval_side(model, images)

    def one_by_one() -> None:
        with put_back(model):
            for seed in range(200):
                others = neighbours_of(labels, 0, kind="random", count=15, seed=seed)
                batch = images[torch.from_numpy(np.concatenate([[0], others]))]
                forward(model, batch, mode="train", batch_size=16)

    return {
        "twin, 10,000 images": seconds(twin, repeats),
        "all layers, 10,000 images": seconds(
            lambda: layer_drift(model, images, batch_size=16, order=order), repeats
        ),
        "200 companies of 16, together": seconds(
            lambda: companies(model, images, labels, 0, batch_size=16, count=200), repeats
        ),
        "200 companies of 16, one by one": seconds(one_by_one, repeats),
    }


def eps_slider(presses: int) -> list[float]:
    """Seconds from each key press to the first frame with other predictions."""
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder)) as server,
        chromium() as browser,
    ):
        page = new_page(browser)
        page.goto(f"{server.url}/train-vs-eval")
        page.wait_for_function("() => bench.drawn('truth')", polling="raf")
        page.evaluate(LISTEN, ["truth", ""])
        handle = page.locator(".st-key-eps").get_by_role("slider")
        moves = ["ArrowRight"] * 5 + ["ArrowLeft"] * 7
        for number in range(presses):
            page.wait_for_timeout(900 + 137 * number % 500)
            handle.press(moves[number % len(moves)])
            page.wait_for_function("(n) => bench.latencies.length > n", arg=number, polling=50)
        return [ms / 1000 for ms in page.evaluate("() => bench.latencies")]


def main(arguments: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--presses", type=int, default=12)
    args = options.parse_args(arguments)
    found = {**computed(args.repeats), "eps slider to predictions": eps_slider(args.presses)}
    rows = [
        {
            "what": name,
            "first, s": values[0],
            "p50, s": statistics.median(values),
            "p95, s": percentile(values, 0.95),
            "times": len(values),
        }
        for name, values in found.items()
    ]
    show(rows, args.json)


if __name__ == "__main__":
    main()
