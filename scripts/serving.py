"""The app on a port of its own, for the browser tests and the screenshots."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import psutil

ROOT = Path(__file__).parents[1]
STARTS_WITHIN_S = 60.0
ENDS_WITHIN_S = 20.0


class AppServer:
    """A running ``streamlit run app.py``; its runs and its log lie in `folder`."""

    def __init__(self, folder: Path):
        self.runs = folder / "runs"
        self.log = folder / "server.log"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "streamlit", "run", "app.py", f"--server.port={port}"],
                cwd=ROOT,
                env={
                    **os.environ,
                    "BNVIZ_RUNS": str(self.runs),
                    "XDG_CACHE_HOME": str(folder / "cache"),
                },
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait_until_up(self) -> None:
        """Return when it answers. Raises RuntimeError with its log when it does not."""
        until = time.monotonic() + STARTS_WITHIN_S
        while time.monotonic() < until and self._process.poll() is None:
            try:
                with urlopen(f"{self.url}/_stcore/health", timeout=5):
                    return
            except OSError:  # refused, or reset while it is starting
                time.sleep(0.1)
        raise RuntimeError(f"The app did not start:\n{self.log.read_text()}")

    def memory(self) -> int:
        """Its own memory in bytes: what is resident less what is shared, such as mapped files."""
        info = psutil.Process(self._process.pid).memory_info()
        return info.rss - getattr(info, "shared", 0)

    def end(self) -> int:
        """Ask it to end, as Ctrl+C does; returns its exit status."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            return self._process.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise


@contextmanager
def serving(folder: Path) -> Iterator[AppServer]:
    """The app, up, until the block ends."""
    server = AppServer(folder)
    try:
        server.wait_until_up()
        yield server
    finally:
        server.end()
