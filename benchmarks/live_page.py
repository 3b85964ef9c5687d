"""The Train page while it trains, in Chromium: slider, ticks, bytes, and what the page costs.

    python benchmarks/live_page.py [--presses 30] [--ticks 40] [--rounds 5] [--seconds 10] [--json]

A server of its own trains the default run (real images, batch 16, composite beside builtin) for
longer than all measurements. Measured from step 200 on:

- latency of the momentum slider, taken in the browser: from the key press until the chart holds the
  replay at the new value and the frame begins that shows it
- kB of a tick, before compression and as sent: a tick is one new answer to each of the four figures,
  with the states and what else comes over the web socket meanwhile
- server time of a tick: of the requests for figures and states while the training goes on, elapsed
  (the training holds the interpreter in between) and CPU time of what makes their answers; the HTTP
  server around them is not in it
- whether zoom and a hidden legend entry survive ten ticks
- seconds from opening the page of the live run to its first figure
- steps a second with the page open against the same run while the browser shows an empty page,
  alternated
"""

import gzip
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from browser import button, chromium, new_page
from common import ROOT, median_ratio, parser, percentile, show
from playwright.sync_api import Page

FIGURES = 4  # on the page Train
LISTEN = """
window.bench.latencies = [];
window.bench.replay = () => bench.chart("running")?.data
  ?.map((t) => t.name).find((name) => name?.startsWith("replay at m ="));
document.addEventListener("keydown", (event) => {
  if (!event.key.startsWith("Arrow")) return;
  const before = bench.replay();
  const look = () => {
    if (bench.replay() === before) return requestAnimationFrame(look);
    bench.latencies.push(performance.now() - event.timeStamp);
  };
  requestAnimationFrame(look);
}, { capture: true });
"""


# ---- the server, with a watch in it -----------------------------------------------------------


def serve(log: str, *arguments: str) -> None:
    """``streamlit run`` that writes a line for each request and ten a second of the job."""
    from streamlit.web.cli import main as streamlit

    from bnviz.app import routes
    from bnviz.app.figure_answers import FigureAnswers
    from bnviz.training.jobs import Jobs

    write = Path(log).open("a", buffering=1).write  # noqa: SIM115
    start = Jobs.start

    def started(self, *args):
        job = start(self, *args)
        threading.Thread(target=follow, args=(job, write), daemon=True).start()
        return job

    Jobs.start = started
    # What makes the answers, each part in one thread: its CPU time is that thread's.
    FigureAnswers.answer = timed(FigureAnswers.answer, "figure_cpu_s", write)
    routes.states = timed(routes.states, "states_cpu_s", write)
    routes._of = timed(routes._of, "encoding_cpu_s", write)
    routes._figure = answered(routes._figure, write)
    routes._states = answered(routes._states, write)
    sys.argv = ["streamlit", "run", *arguments]
    streamlit()


def timed(work, name: str, write):
    """`work`, and a line with the CPU time of each call."""

    def call(*args, **options):
        own = time.thread_time()
        try:
            return work(*args, **options)
        finally:
            write(json.dumps({"cpu_s": time.thread_time() - own, "of": name}) + "\n")

    return call


def answered(handler, write):
    """A handler of requests, and a line with what each answer took and how large it is."""

    async def handle(request):
        began = time.perf_counter()
        response = await handler(request)
        packed = response.headers.get("content-encoding") == "gzip"
        line = {
            "request_s": time.perf_counter() - began,
            "of": request.url.path,
            "status": response.status_code,
            "sent": len(response.body),
            "bytes": len(gzip.decompress(response.body) if packed else response.body),
        }
        write(json.dumps(line) + "\n")
        return response

    return handle


def follow(job, write) -> None:
    while not job.ended:
        write(json.dumps({"at": time.monotonic(), "steps": job.steps_done}) + "\n")
        time.sleep(0.1)


class WatchedServer:
    """The app with `serve` around it, its runs in `folder`; `lines` reads what it wrote."""

    def __init__(self, folder: Path):
        self.watch = folder / "watch.jsonl"
        self.watch.touch()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._log = (folder / "server.log").open("w")
        self._process = subprocess.Popen(
            [
                sys.executable,
                __file__,
                "--serve",
                str(self.watch),
                "app.py",
                f"--server.port={port}",
            ],
            env={**os.environ, "BNVIZ_RUNS": str(folder / "runs")},
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def wait_until_up(self) -> None:
        """Return when it answers."""
        while True:
            try:
                return urlopen(f"{self.url}/_stcore/health", timeout=5).close()
            except URLError:
                if self._process.poll() is not None:
                    raise
                time.sleep(0.1)

    def end(self) -> None:
        """Stop it as Ctrl+C does."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(60)
        self._log.close()

    def lines(self, key: str) -> list[dict[str, Any]]:
        """What was written so far, the lines that have `key`."""
        text = self.watch.read_text().rpartition("\n")[0]
        return [line for line in map(json.loads, text.splitlines()) if key in line]

    def steps(self) -> int:
        """Steps of the run so far."""
        found = self.lines("steps")
        return int(found[-1]["steps"]) if found else 0


@contextmanager
def training_page() -> Iterator[tuple[Page, WatchedServer, list[int]]]:
    """The Train page of a run past step 200, its server, and the sizes of what it receives."""
    sizes: list[int] = []
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        page, server = new_page(browser), WatchedServer(Path(folder))
        try:
            server.wait_until_up()
            page.on("websocket", lambda ws: ws.on("framereceived", lambda d: sizes.append(len(d))))
            page.goto(f"{server.url}/train?epochs=1000")
            page.wait_for_function("() => bench.drawn('curves')", polling="raf")
            button(page, "start")
            while server.steps() < 200:
                page.wait_for_timeout(200)
            yield page, server, sizes
        finally:
            server.end()


# ---- what is measured -------------------------------------------------------------------------


def slider_latency(page: Page, presses: int) -> list[float]:
    """Milliseconds from each key press to its answer on screen."""
    page.evaluate(LISTEN)
    handle = page.locator(".st-key-momentum").get_by_role("slider")
    for number in range(presses):
        # At no fixed distance from the ticks.
        page.wait_for_timeout(700 + 137 * number % 500)
        handle.press("ArrowRight" if number // 3 % 2 == 0 else "ArrowLeft")
        page.wait_for_function("(n) => bench.latencies.length > n", arg=number, polling=50)
    return page.evaluate("() => bench.latencies")


def ticks(page: Page, server: WatchedServer, sizes: list[int], count: int) -> dict[str, float]:
    """Bytes and server time of a tick, which is a new answer to each of the page's figures."""
    page.wait_for_timeout(1000)
    requests, parts, already = (
        len(server.lines("request_s")),
        len(server.lines("cpu_s")),
        len(sizes),
    )
    page.wait_for_timeout(500 * count)
    found, cpu = server.lines("request_s")[requests:], server.lines("cpu_s")[parts:]
    new = [line for line in found if "/figures/" in line["of"] and line["status"] == 200]
    done = len(new) / FIGURES
    over_socket = sum(sizes[already:])
    return {
        "kB a tick": (over_socket + sum(line["bytes"] for line in found)) / done / 1e3,
        "kB a tick, as sent": (over_socket + sum(line["sent"] for line in found)) / done / 1e3,
        "kB of it over the web socket": over_socket / done / 1e3,
        "ticks a second": done / (0.5 * count),
        "requests a tick": len(found) / done,
        "server ms a tick, elapsed": 1e3 * sum(line["request_s"] for line in found) / done,
        "server ms a tick, CPU": 1e3 * sum(line["cpu_s"] for line in cpu) / done,
    }


VIEW_STATE = """() => {
  const plot = bench.chart("curves");
  const hidden = plot._fullData.filter((t) => t.visible === "legendonly").map((t) => t.name);
  return JSON.stringify([plot._fullLayout.xaxis.range, hidden.sort()]);
}"""


def view_survives(page: Page) -> bool:
    """Zoom into the curves and hide a variant; whether both still hold after ten ticks."""
    plot = page.locator("[data-chart=curves]")
    untouched = json.loads(page.evaluate(VIEW_STATE))
    area = plot.locator(".nsewdrag").first.bounding_box()
    page.mouse.move(area["x"] + 0.05 * area["width"], area["y"] + 0.3 * area["height"])
    page.mouse.down()
    page.mouse.move(area["x"] + 0.7 * area["width"], area["y"] + 0.7 * area["height"], steps=5)
    page.mouse.up()
    page.wait_for_timeout(1000)  # a click soon after would be half of a double click
    plot.locator(".legendtoggle").first.click()
    page.wait_for_function(f"() => JSON.parse(({VIEW_STATE})())[1].length")
    before, step = page.evaluate(VIEW_STATE), page.evaluate("() => bench.steps()")
    for _ in range(10):
        page.wait_for_function("(before) => bench.steps() > before", arg=step)
        step = page.evaluate("() => bench.steps()")
    return json.loads(before)[0] != untouched[0] and page.evaluate(VIEW_STATE) == before


def rate(server: WatchedServer, seconds: float) -> float:
    """Steps a second over the next `seconds`."""
    time.sleep(1.5)  # what the change of the page costs is not counted
    began, at = time.monotonic(), server.steps()
    time.sleep(seconds)
    return (server.steps() - at) / (time.monotonic() - began)


def speeds(page: Page, server: WatchedServer, rounds: int, seconds: float) -> dict[str, float]:
    address = page.url
    shown, away, first = [], [], []
    for _ in range(rounds):
        page.goto("about:blank")
        away.append(rate(server, seconds))
        page.goto(address)
        page.wait_for_function("() => bench.drawn('curves')", polling="raf")
        first.append(page.evaluate("() => performance.now() / 1000"))
        shown.append(_while_the_page_lives(page, server, seconds))
    return {
        "first figure of the page, s": statistics.median(first),
        "steps/s, no page": statistics.median(away),
        "steps/s, page open": statistics.median(shown),
        "speed kept with the page open, %": 100 * median_ratio(shown, away),
    }


def _while_the_page_lives(page: Page, server: WatchedServer, seconds: float) -> float:
    """As `rate`, but playwright's own loop keeps turning, or its queue of messages would grow."""
    page.wait_for_timeout(1500)
    began, at = time.monotonic(), server.steps()
    page.wait_for_timeout(1000 * seconds)
    return (server.steps() - at) / (time.monotonic() - began)


def main(arguments: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--presses", type=int, default=30)
    options.add_argument("--ticks", type=int, default=40)
    options.add_argument("--rounds", type=int, default=5, help="with and without the page")
    options.add_argument("--seconds", type=float, default=10, help="of each turn of a round")
    args = options.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the server ends too
    with training_page() as (page, server, sizes):
        figures: dict[str, object] = {"step at the start": server.steps()}
        figures |= ticks(page, server, sizes, args.ticks)
        latencies = slider_latency(page, args.presses)
        figures["slider p50, ms"] = statistics.median(latencies)
        figures["slider p95, ms"] = percentile(latencies, 0.95)
        figures["zoom and legend survive ten ticks"] = view_survives(page)
        figures |= speeds(page, server, args.rounds, args.seconds)
        figures["step at the end"] = server.steps()
    show([{"figure": name, "measured": value} for name, value in figures.items()], args.json)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        os.chdir(ROOT)
        serve(*sys.argv[2:])
    else:
        main()
