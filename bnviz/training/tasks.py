"""What takes long and is asked for once: measured in a thread, shared by all who look.

A `Measurement` is one piece of work, `Measurements` those of a process. The work itself is any
function of one argument, a `Progress`.
"""

import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from bnviz.training.worker import Cancelled, Worker

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


class Measurement(Worker):
    """One piece of work, begun at once.

    With `turn` it waits until no other measurement of the same turn is at work. Until it has found
    anything, `found` is what an `earlier` one did.
    """

    def __init__(
        self,
        measure: Callable[[Progress], Any],
        turn: threading.Semaphore | None = None,
        earlier: Any = None,
    ):
        super().__init__("measure")
        self.found: Any = earlier
        """What `measure` returned."""
        self.waiting = True
        self.done, self.parts, self.share = 0, 0, 0.0
        self._measure, self._turn = measure, turn or threading.Semaphore()
        self._ended = False
        self._first: tuple[float, float] | None = None
        self._last = 0.0
        self.start()

    @property
    def going_on(self) -> bool:
        """Whether more is to come: it has not ended, and nobody has stopped it."""
        return not (self._ended or self.stopping)

    @property
    def seconds_left(self) -> float | None:
        """Estimated time to the end, or None while it is not known."""
        if self._first is None or self.share <= self._first[1]:
            return None
        began, before = self._first
        left = (self._last - began) * (1 - self.share) / (self.share - before)
        return max(left - (time.monotonic() - self._last), 0.0)

    def work(self) -> None:
        """Measure when it is its turn, and leave a core to the page meanwhile."""
        from bnviz.training.steps import leave_one_core_free

        while not self._turn.acquire(timeout=0.1):
            self._check()
        try:
            self._check()
            leave_one_core_free()
            self.waiting = False
            self.found = self._measure(self._progress)
        finally:
            self._turn.release()

    def at_end(self) -> None:
        """Nothing more will come."""
        self._ended = True

    def _check(self) -> None:
        if self.stopping:
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
            known.stop()

    def end_all(self) -> None:
        """Stop all and wait, when the server ends: no thread may outlive torch."""
        with self._lock:
            known = list(self._all.values())
        for each in known:
            each.stop()
        for each in known:
            each.join(ENDS_WITHIN_S)
