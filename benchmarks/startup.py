"""Seconds from ``streamlit run app.py`` to the first figure, and from Start to the first live one.

    python benchmarks/startup.py [--rounds 3] [--json]

Each round starts a server of its own and opens Home in a new, empty browser context of a Chromium
that is already there; the files are in the disk cache after a round that does not count. Then the
Train page: from the click on Start until the curves show points of the new run and the line of its
state a step number, and the same once more in the server that is warm by then.
"""

import statistics
import tempfile
import time
from pathlib import Path

from browser import button, chromium, new_page
from common import parser, show
from playwright.sync_api import Browser, Page

from scripts.serving import AppServer

LIVE = """(before) => bench.steps() > 0 && bench.drawn("curves")
  && bench.revision("curves") !== before"""


def first_figure(page: Page, server: AppServer) -> None:
    server.wait_until_up()
    page.goto(server.url)
    page.wait_for_function("() => bench.drawn('')", polling="raf")


def first_live_figure(page: Page) -> float:
    """Seconds from a click on Start; the run is stopped afterwards."""
    before = page.evaluate("() => bench.revision('curves')")
    page.evaluate("() => document.addEventListener('click', () => (bench.began = performance.now()),"
                  " { once: true, capture: true })")  # fmt: skip
    button(page, "start")
    page.wait_for_function(LIVE, arg=before, polling="raf")
    seconds = page.evaluate("() => (performance.now() - bench.began) / 1000")
    button(page, "stop")
    page.locator(".stMarkdownBadge", has_text="stopped").wait_for(timeout=300_000)
    return seconds


def one_round(browser: Browser, folder: Path) -> dict[str, float]:
    page = new_page(browser)
    began = time.perf_counter()
    server = AppServer(folder)
    try:
        first_figure(page, server)
        home = time.perf_counter() - began
        page.goto(f"{server.url}/train?epochs=100")
        page.wait_for_function("() => bench.drawn('curves')", polling="raf")
        page.wait_for_timeout(2000)
        return {
            "Home: first figure": home,
            "Train: first live figure": first_live_figure(page),
            "Train: the same, second run": first_live_figure(page),
        }
    finally:
        page.context.close()
        server.end()


def main(arguments: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=3, help="after one that does not count")
    args = options.parse_args(arguments)
    rounds = []
    with chromium() as browser:
        for _ in range(args.rounds + 1):
            with tempfile.TemporaryDirectory() as folder:
                Path(folder, "runs").mkdir()
                rounds.append(one_round(browser, Path(folder)))
    rows = [
        {
            "seconds": name,
            "median": statistics.median(each[name] for each in rounds[1:]),
            "smallest": min(each[name] for each in rounds[1:]),
            "largest": max(each[name] for each in rounds[1:]),
        }
        for name in rounds[0]
    ]
    show(rows, args.json)


if __name__ == "__main__":
    main()
