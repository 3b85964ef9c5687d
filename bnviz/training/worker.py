"""The one machine behind all that goes on in the background: runs, measurements, the memory experiment.

A `Mailbox` takes questions from other threads and answers them between two parts of the work, in the
thread that works. A `Worker` is a mailbox with a thread of its own, which never touches a page.
"""

import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from bnviz.errors import BnvizError


class Cancelled(Exception):
    """Raised between two parts of a work that nobody wants any more; no fault of anything."""


class Mailbox:
    """Questions of other threads, answered by the one that works, and its wish to stop."""

    def __init__(self) -> None:
        self.stopping = False
        """Whether somebody wants the work to end."""
        self._wake = threading.Condition()
        self._asked: deque[tuple[Callable[[], Any], Future]] = deque()
        self._refused: BnvizError | None = None

    def stop(self) -> None:
        """End before the next part."""
        with self._wake:
            self.stopping = True
            self._wake.notify_all()

    def post(self, question: Callable[[], Any]) -> Future:
        """What `question` returns or raises, once the thread that works has called it."""
        future: Future = Future()
        with self._wake:
            if self._refused is not None:
                future.set_exception(self._refused)
                return future
            self._asked.append((question, future))
            self._wake.notify_all()
        return future

    def answer(self) -> None:
        """Between two parts: call all that was posted. A question whose asker waits no longer is left out."""
        for question, future in self._take():
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(question())
                except Exception as error:  # belongs to whoever asked
                    future.set_exception(error)

    def refuse(self, error: BnvizError) -> None:
        """Let nobody wait for an answer that will not come: what was and will be posted raises `error`."""
        with self._wake:
            self._refused = error
        for _question, future in self._take():
            if future.set_running_or_notify_cancel():
                future.set_exception(error)

    def sleep(self, seconds: float) -> bool:
        """Wait at most `seconds`, or until something is posted or the work is to stop; whether it is one of these."""
        with self._wake:
            return self._wake.wait_for(lambda: bool(self._asked) or self.stopping, timeout=seconds)

    def _take(self) -> list[tuple[Callable[[], Any], Future]]:
        with self._wake:
            asked = list(self._asked)
            self._asked.clear()
        return asked


class Worker(Mailbox):
    """A mailbox with a thread of its own, begun by `start`. A subclass says what is done: `work`."""

    def __init__(self, name: str):
        super().__init__()
        self.error: str | None = None
        """Why it failed, in one line for the page."""
        self._thread = threading.Thread(target=self._main, name=f"bnviz-{name}", daemon=True)

    def start(self) -> None:
        """Work in the background."""
        self._thread.start()

    def join(self, timeout: float | None = None) -> None:
        """Wait for the end, at most `timeout` seconds."""
        if self._thread.is_alive():
            self._thread.join(timeout)

    def work(self) -> None:
        """All that is to be done; raises Cancelled where it stops before its end."""
        raise NotImplementedError

    def failed(self, error: Exception) -> str:
        """An error that no one has foreseen, in one line for the page."""
        return f"{type(error).__name__}: {error}"

    def at_end(self) -> None:
        """Called in the thread at its very end, however the work ended."""

    def _main(self) -> None:
        try:
            self.work()
        except Cancelled:
            pass
        except BnvizError as error:
            self.error = str(error)
        except Exception as error:  # the page must be told of anything that ends the thread
            traceback.print_exc(file=sys.stderr)
            self.error = self.failed(error)
        finally:
            self.at_end()
