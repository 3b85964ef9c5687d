"""What takes long and is asked for once: measured in a thread, shared by all who look.

A `Measurement` is one piece of work, `Measurements` those of a process. The work itself is any
function of one argument, a `Progress`.
"""

import threading
import time
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from bnviz.errors import BnvizError

if TYPE_CHECKING:
    pass

ENDS_WITHIN_S = 20.0
Key = tuple[str, ...]
"""Run, kind, variant and options of a task."""


class Progress(Protocol):
    """What a measurement calls before each of its parts."""

    def __call__(self, done: int, parts: int, share: float | None = None) -> None:
        """`done` of `parts` are done, which is `share` of the work (0 to 1; done / parts).

        Raises when nobody wants the rest any more.
        """


def no_progress(done: int, parts: int, share: float | None = None) -> None:
    """A `Progress` that does nothing."""


class Cancelled(Exception):
    """Raised by `Progress` in a measurement that was cancelled; no fault of anything."""


class Measurement:
    """One piece of work in a thread, because a page that ticks would cut it short.

    With `turn` it waits until no other measurement of the same turn is at work. Until it has found
    anything, `found` is what an `earlier` one did.
    """

    def __init__(
        self,
        work: Callable[[Progress], Any],
        turn: threading.Semaphore | None = None,
        earlier: Any = None,
    ):
        self.found: Any = earlier
        """What the work returned."""
        self.error: str | None = None
        """Why it failed, in one line for the page."""
        self.waiting = True
        self._ended = self._cancelled = False
        self.done, self.parts, self.share = 0, 0, 0.0
        self._first: tuple[float, float] | None = None
        self._last = 0.0
        self._thread = threading.Thread(
            target=self._main, args=(work, turn or threading.Semaphore()), name="bnviz-measure", daemon=True
        )  # fmt: skip
        self._thread.start()

    @property
    def going_on(self) -> bool:
        """Whether more is to come: it has not ended, and nobody has cancelled it."""
        return not (self._ended or self._cancelled)

    @property
    def seconds_left(self) -> float | None:
        """Estimated time to the end, or None while it is not known."""
        if self._first is None or self.share <= self._first[1]:
            return None
        began, before = self._first
        left = (self._last - began) * (1 - self.share) / (self.share - before)
        return max(left - (time.monotonic() - self._last), 0.0)

    def cancel(self) -> None:
        """Want no more of it: it ends before its next part."""
        self._cancelled = True

    def end(self) -> None:
        """Cancel and wait for the end: no thread may outlive torch."""
        self.cancel()
        self._thread.join(timeout=ENDS_WITHIN_S)

    def _main(self, work: Callable[[Progress], Any], turn: threading.Semaphore) -> None:
        try:
            while not turn.acquire(timeout=0.1):
                self._check()
            try:
                self._check()
                self.waiting = False
                self.found = work(self._progress)
            finally:
                turn.release()
        except Cancelled:
            pass
        except BnvizError as error:
            self.error = str(error)
        except Exception as error:  # the page must be told of anything that ends the thread
            traceback.print_exc()
            self.error = f"{type(error).__name__}: {error}"
        finally:
            self._ended = True

    def _check(self) -> None:
        if self._cancelled:
            raise Cancelled

    def _progress(self, done: int, parts: int, share: float | None = None) -> None:
        self._check()
        share = done / max(parts, 1) if share is None else share
        if self._first is None or share > self.share:
            self._last = time.monotonic()
        self.done, self.parts, self.share = done, parts, share
        self._first = self._first or (self._last, share)


class Measurements:
    """The measurements of a process by run, kind, variant and options; one is at work at a time.

    They share the cores with the page and with training, so two at once would only take longer.
    """

    def __init__(self) -> None:
        self._lock, self._turn = threading.Lock(), threading.Semaphore()
        self._all: dict[tuple[str, ...], Measurement] = {}
        self._begun = 0

    @property
    def changes(self) -> int:
        """Larger whenever one has begun or ended."""
        return self._begun + sum(not each.going_on for each in list(self._all.values()))

    def at_work_on(self, run: str) -> bool:
        """Whether anything that was asked for of that run goes on."""
        return any(key[0] == run and each.going_on for key, each in list(self._all.items()))

    def get(self, *key: str) -> Measurement | None:
        """The measurement of that key, or None before it was asked for."""
        return self._all.get(key)

    def asked_for(self, *prefix: str) -> list[tuple[str, ...]]:
        """The keys that begin so of all that was asked for, oldest first."""
        return [key for key in list(self._all) if key[: len(prefix)] == prefix]

    def begin(self, *key: str, work: Callable[[Progress], Any]) -> Measurement:
        """Measure, or measure again; one that is going on is left to its end and returned.

        What was found before stays until there is something newer.
        """
        with self._lock:
            known = self._all.get(key)
            if known is None or not known.going_on:
                self._begun += 2  # the one that it replaces had ended
                self._all[key] = known = Measurement(work, self._turn, known and known.found)
            return known

    def cancel(self, *key: str) -> None:
        """Want no more of the measurement of that key; what was found before stays."""
        known = self._all.get(key)
        if known is not None:
            known.cancel()

    def end_all(self) -> None:
        """Cancel all and wait, when the server ends."""
        with self._lock:
            known = list(self._all.values())
        for each in known:
            each.cancel()
        for each in known:
            each.end()
