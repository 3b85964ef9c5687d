"""Train mode against eval mode: how long the answers of the page take.

    python benchmarks/modes.py [--repeats 5] [--rounds 4] [--json]

On the recorded run's nn.BatchNorm, real test images, one core:

- both modes: 10,000 images through both modes in batches of 16
- all layers: the same with the difference after each layer, which has both passes in it
- batch contexts: one image in 200 random batches of 16, together and one pass a batch
- eps: from the key press on the slider until the new predictions of 1,000 images are counted in the
  metrics, and until they are drawn, in a browser
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
from bnviz.evaluation.batch_context import context_order, neighbours_of, random_contexts
from bnviz.evaluation.inference import forward
from bnviz.evaluation.modes import eval_side, layer_drift, train_side
from bnviz.nn.state import restored
from bnviz.records.store import recorded_run
from bnviz.selection import SLIDER_EPS, SLIDER_MOMENTA
from bnviz.training.checkpoints import model_at
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
    order = context_order(labels, "shuffled")

    def predictions() -> None:
        train_side(model, images, batch_size=16, order=order)
        eval_side(model, images)

    def one_by_one() -> None:
        with restored(model):
            for seed in range(200):
                others = neighbours_of(labels, 0, kind="random", count=15, seed=seed)
                batch = images[torch.from_numpy(np.concatenate([[0], others]))]
                forward(model, batch, mode="train", batch_size=16)

    return {
        "predictions, 10,000 images": seconds(predictions, repeats),
        "all layers, 10,000 images": seconds(
            lambda: layer_drift(model, images, batch_size=16, order=order), repeats
        ),
        "200 batches of 16, together": seconds(
            lambda: random_contexts(model, images, labels, 0, batch_size=16, count=200), repeats
        ),
        "200 batches of 16, one by one": seconds(one_by_one, repeats),
    }


# Milliseconds from each arrow key to the first change of a number in the row of metrics.
METRICS = """() => {
  bench.metrics = [];
  let pressed = null;
  document.addEventListener("keydown", (event) => {
    if (event.key.startsWith("Arrow")) pressed = event.timeStamp;
  }, { capture: true });
  new MutationObserver((changes) => {
    const metric = (node) => (node.parentElement ?? node).closest("[data-testid=stMetricValue]");
    if (pressed === null || !changes.some(({ target }) => metric(target))) return;
    bench.metrics.push(performance.now() - pressed);
    pressed = null;
  }).observe(document.body, { subtree: true, characterData: true, childList: true });
}"""


def eps_slider(rounds: int) -> dict[str, list[float]]:
    """Seconds from each key press to other metrics, where they change, and to the figure's frame.

    A round is another momentum and the eps slider from its lowest value to its highest, so that no
    answer comes from a cache.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder)) as server,
        chromium() as browser,
    ):
        page = new_page(browser)
        metrics: list[float] = []
        figure: list[float] = []
        for momentum in SLIDER_MOMENTA[:rounds]:
            page.goto(
                f"{server.url}/train-vs-eval?eval_source=replayed&momentum={momentum:g}&eps=1e-08"
            )
            page.wait_for_function("() => bench.drawn('truth')", polling="raf")
            page.wait_for_timeout(2000)
            page.evaluate(LISTEN, ["truth", ""])
            page.evaluate(METRICS)
            handle = page.locator(".st-key-eps").get_by_role("slider")
            for number in range(len(SLIDER_EPS) - 1):
                page.wait_for_timeout(900 + 137 * number % 500)
                handle.press("ArrowRight")
                page.wait_for_function("(n) => bench.latencies.length > n", arg=number, polling=50)
            figure += page.evaluate("() => bench.latencies")
            metrics += page.evaluate("() => bench.metrics")
    found = {"eps slider to the metrics": metrics, "eps slider to the figure": figure}
    return {name: [ms / 1000 for ms in values] for name, values in found.items()}


def main(arguments: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--rounds", type=int, default=4)
    args = options.parse_args(arguments)
    found = computed(args.repeats) | eps_slider(args.rounds)
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
