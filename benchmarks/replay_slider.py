"""The momentum slider on Running statistics, while another run trains: how soon it is answered.

    python benchmarks/replay_slider.py [--presses 30] [--steps 3750] [--alone] [--json]

A run of one epoch (real images, batch 16, nn.BatchNorm) is made and stored. A server of its own
then trains the default run, and a page shows the stored one. Taken in the browser, from the key
press until the chart holds the replay at the new value and the frame begins that shows it:

- curves: of one layer's channel over the whole run
- accuracy: eval mode on all 10,000 test images with the replayed statistics, at a value that was
  not asked for before
- accuracy, again: at a value that was
- curves, with the estimators: the curves again, once the estimators are compared

The server works out what the browser asks for at the slider's new value.
"""

import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from browser import LISTEN, button, chromium, new_page, view
from common import parser, percentile, show
from playwright.sync_api import Page

from bnviz import data
from bnviz.config import RunConfig
from bnviz.records.store import RunWriter
from bnviz.training.trainer import Trainer
from scripts.serving import serving


def stored_run(folder: Path, steps: int) -> str:
    """Train and store a run; returns its id."""
    config = RunConfig(variants=("builtin",), epochs=None, steps=steps)
    writer = RunWriter(folder, "finished", config)
    with Trainer(config, data.load("fashion-mnist"), history=writer.history) as trainer:
        trainer.on_checkpoint = writer.checkpoint
        while not trainer.done:
            trainer.step()
        trainer.finish()
        trainer.checkpoint()
        writer.finish(trainer.summary(0.0))
    return writer.folder.name


@contextmanager
def page_on_a_stored_run(steps: int, training: bool) -> Iterator[Page]:
    """Running statistics of the stored run; with `training` the server trains another meanwhile."""
    with tempfile.TemporaryDirectory() as name, serving(Path(name)) as server:
        server.runs.mkdir(parents=True)
        run = stored_run(server.runs, steps)
        with chromium() as browser:
            page = new_page(browser)
            if training:
                page.goto(f"{server.url}/train?epochs=1000")
                page.wait_for_function("() => bench.drawn('curves')", polling="raf")
                button(page, "start")
                page.wait_for_function("() => bench.steps() > 200", polling=500)
            page.goto(f"{server.url}/running-stats?run={run}&layer=conv2")
            page.locator("[data-chart=estimates]").scroll_into_view_if_needed()
            page.wait_for_function("() => bench.drawn('estimates')", polling="raf")
            yield page


def latencies(page: Page, chart: str, text: str, keys: list[str]) -> list[float]:
    """Milliseconds from each key to the first frame in which series named `text`… are others."""
    page.evaluate(LISTEN, [chart, text])
    handle = page.locator(".st-key-momentum").get_by_role("slider")
    for number, key in enumerate(keys):
        page.wait_for_timeout(900 + 137 * number % 500)
        handle.press(key)
        page.wait_for_function("(n) => bench.latencies.length > n", arg=number, polling=50)
    return page.evaluate("() => bench.latencies")


def there_and_back(presses: int) -> list[str]:
    """Arrow keys that stay within three values of the slider."""
    return [("ArrowRight" if k // 3 % 2 == 0 else "ArrowLeft") for k in range(presses)]


def main(arguments: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--presses", type=int, default=30)
    options.add_argument("--steps", type=int, default=3750)
    options.add_argument("--alone", action="store_true", help="nothing trains meanwhile")
    args = options.parse_args(arguments)
    if args.presses % 6:
        options.error("--presses: a multiple of 6, which leaves the slider where it was")
    with page_on_a_stored_run(args.steps, not args.alone) as page:
        found = {"curves": latencies(page, "estimates", "EMA at m", there_and_back(args.presses))}
        view(page, "Which momentum?")
        button(page, "measure_estimators")
        page.wait_for_function("() => bench.drawn('estimators')", polling=500, timeout=600_000)
        found["accuracy"] = latencies(page, "estimators", "the slider", ["ArrowRight"] * 5)
        found["accuracy, again"] = latencies(page, "estimators", "the slider", ["ArrowLeft"] * 4)
        view(page, "On this run")
        page.wait_for_function("() => bench.drawn('estimates')", polling="raf")
        found["curves, with the estimators"] = latencies(
            page, "estimates", "EMA at m", there_and_back(args.presses)
        )
    rows = [
        {
            "answer": name,
            "p50, ms": statistics.median(values),
            "p95, ms": percentile(values, 0.95),
            "presses": len(values),
        }
        for name, values in found.items()
    ]
    show(rows, args.json)


if __name__ == "__main__":
    main()
