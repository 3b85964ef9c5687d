"""Many readers of one live run: what is left of the training's speed, and how soon a figure is there.

    python benchmarks/classroom.py [--visitors 20] [--seconds 12] [--rounds 3] [--json]

A real server trains LeNet with a hand-written and the built-in BatchNorm. In turns nobody looks, all
visitors look with one selection, and all look with ten different ones (layer and momentum). A visitor
is an HTTP client that does what the browser does: it asks for the four figures of the page Train and
for the state of the run, sends the ETag it has, and comes back when the server says (`X-Again`). The
medians over the rounds are printed, each speed as a share of that with nobody looking, and the server's
own memory (resident less shared, so without mapped files) with its growth over nobody in the same round.
"""

import json
import re
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from browser import button, chromium, new_page
from common import parser, percentile, show

from scripts.serving import AppServer, serving

FIGURES = (
    ("training/curves", ()),
    ("activations/stages", ("layer", "step", "one_axis", "channels", "variant")),
    ("running_stats/running", ("layer", "channels", "momentum")),
    ("memory/kept", ()),
)
LAYERS = ("conv1", "conv2", "fc1", "fc2")
MOMENTA = ("0.1", "0.9", "0.03")
SETTLE_S = 3.0
MIB = 2**20
STEPS = re.compile(r"[\d,]+")


class Visitor(threading.Thread):
    """One reader: four figures and a state, each asked for again when the server says so."""

    def __init__(self, url: str, run: str, selection: dict[str, str], until: threading.Event):
        super().__init__(daemon=True)
        self._address, self._until = urlsplit(url), until
        chosen = {
            "channels": "",
            "step": "none",
            "one_axis": "true",
            "variant": "",
            **selection,
        }
        self._due = {
            f"/figures/{name}?{urlencode({'run': run, **{n: chosen[n] for n in needs}})}": 0.0
            for name, needs in FIGURES
        }
        self._due[f"/states?{urlencode({'run': run})}"] = 0.0
        self._etags: dict[str, str] = {}
        self.waits: list[float] = []
        self.errors = 0

    def run(self) -> None:
        """Ask until the end."""
        connection = HTTPConnection(str(self._address.hostname), self._address.port, timeout=30)
        while not self._until.is_set():
            path = min(self._due, key=lambda each: self._due[each])
            if self._until.wait(max(self._due[path] - time.monotonic(), 0.0)):
                return
            self._ask(connection, path)

    def _ask(self, connection: HTTPConnection, path: str) -> None:
        headers = {"Accept-Encoding": "gzip"}
        if path in self._etags:
            headers["If-None-Match"] = self._etags[path]
        began = time.monotonic()
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        self.waits.append(time.monotonic() - began)
        self.errors += answer.status not in (200, 304)
        if etag := answer.headers.get("ETag"):
            self._etags[path] = etag
        again = answer.headers.get("X-Again")
        if path.startswith("/states"):
            again = json.loads(body)[0]["again"]
        self._due[path] = time.monotonic() + float(again or 3600)


@contextmanager
def visitors(url: str, run: str, selections: list[dict[str, str]]) -> Iterator[list[Visitor]]:
    """One visitor for each of `selections`, until the block ends."""
    until = threading.Event()
    all_of_them = [Visitor(url, run, selection, until) for selection in selections]
    for visitor in all_of_them:
        visitor.start()
    try:
        yield all_of_them
    finally:
        until.set()
        for visitor in all_of_them:
            visitor.join(10)


def steps_done(url: str, run: str) -> int:
    """The step number in the words of the run's state."""
    address = urlsplit(url)
    connection = HTTPConnection(str(address.hostname), address.port, timeout=30)
    connection.request("GET", f"/states?{urlencode({'run': run})}")
    words = json.loads(connection.getresponse().read())[0]["text"]
    found = STEPS.search(words)
    return int(found[0].replace(",", "")) if found else 0


def measure(server: AppServer, run: str, selections: list[dict[str, str]], seconds: float) -> dict:
    """Steps a second, waits in ms, errors and the server's memory with these visitors."""
    with visitors(server.url, run, selections) as present:
        time.sleep(SETTLE_S)
        for visitor in present:
            visitor.waits.clear()
        began, before = time.monotonic(), steps_done(server.url, run)
        time.sleep(seconds)
        rate = (steps_done(server.url, run) - before) / (time.monotonic() - began)
        waits = [1000 * wait for visitor in present for wait in visitor.waits]
        return {
            "steps_per_s": rate,
            "p95_ms": percentile(waits, 0.95) if waits else 0.0,
            "answers_per_s": len(waits) / seconds,
            "errors": sum(visitor.errors for visitor in present),
            "memory_mib": server.memory() / MIB,
        }


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--visitors", type=int, default=20)
    options.add_argument("--seconds", type=float, default=12.0)
    options.add_argument("--rounds", type=int, default=3)
    arguments = options.parse_args()
    ten = [{"layer": LAYERS[k % 4], "momentum": MOMENTA[k % 3]} for k in range(10)]
    present = {
        "nobody": [],
        "one selection": [{"layer": "conv2", "momentum": "0.1"}] * arguments.visitors,
        "ten selections": [ten[k % 10] for k in range(arguments.visitors)],
    }
    found: dict[str, list[dict]] = {name: [] for name in present}
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as server:
        run = start(server)
        for _round in range(arguments.rounds):
            for name, selections in present.items():
                found[name].append(measure(server, run, selections, arguments.seconds))
    alone = statistics.median(row["steps_per_s"] for row in found["nobody"])
    rows = []
    for name, measured in found.items():
        row = {k: statistics.median(each[k] for each in measured) for k in measured[0]}
        growth = statistics.median(
            each["memory_mib"] - before["memory_mib"]
            for each, before in zip(measured, found["nobody"], strict=True)
        )
        rows.append(
            {
                "looking": name,
                **row,
                "growth_mib": growth,
                "share_of_speed": row["steps_per_s"] / alone,
            }
        )
    show(rows, arguments.json)


def start(server: AppServer) -> str:
    """Start a long run on the small data set by the page's own button; its id."""
    with chromium() as browser:
        page = new_page(browser)
        page.goto(f"{server.url}/train?steps=500000&dataset=fashion-mnist-sample")
        button(page, "start")
        page.wait_for_url(lambda url: "run=" in url)
        page.get_by_text(re.compile("step [1-9]")).first.wait_for()
        return str(page.evaluate("new URL(location).searchParams.get('run')"))


if __name__ == "__main__":
    main()
