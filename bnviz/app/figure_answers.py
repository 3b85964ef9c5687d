"""Each figure of each run and selection, worked out once for all who look, and encoded once.

A figure of a run that goes on is worked out again at most every `FigureAnswers.interval` seconds:
half a second, and longer where drawing all figures that anybody looks at would take more than a
quarter of a core, so that training keeps its speed whoever looks. A figure of a run that has ended
is final.
"""

import gzip
import hashlib
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from bnviz.charts.card import encode_card
from bnviz.charts.registry import FigureEntry, NotReady, figure_named
from bnviz.errors import BnvizError
from bnviz.i18n import in_language
from bnviz.selection import Selection, check_names
from bnviz.training.process import find_run_view, kept_maps, measurements
from bnviz.training.run_view import RunView

SHORTEST_S = 0.5
LONGEST_S = 10.0
SHARE_OF_A_CORE = 0.25
LOOKED_AT_S = 5.0
"""After this many seconds without a request a figure counts no more among those that are looked at."""
MOST_KEPT = 512


@dataclass(frozen=True)
class Answer:
    """What the browser gets of a figure."""

    document: Mapping[str, Any]
    """``card`` (or None), ``state``, ``text``, ``progress`` and ``again`` in seconds (or None)."""

    @cached_property
    def body(self) -> bytes:
        """As JSON."""
        return json.dumps(self.document, separators=(",", ":")).encode()

    @cached_property
    def gzipped(self) -> bytes:
        """The body, compressed once for all."""
        return gzip.compress(self.body, compresslevel=1)

    @cached_property
    def etag(self) -> str:
        """Changes when what is shown does; when to ask again is no part of it."""
        shown = {name: value for name, value in self.document.items() if name != "again"}
        return f'"{hashlib.sha1(json.dumps(shown).encode(), usedforsecurity=False).hexdigest()}"'

    @property
    def again(self) -> float | None:
        """Seconds until there may be something newer; None when it is final."""
        return self.document["again"]


@dataclass
class _Kept:
    answer: Answer
    asked: tuple[Any, ...]
    """What had been asked for when it was drawn: what differs now is shown at once."""
    moment: tuple[Any, ...]
    """What the run was like when it was drawn: what differs now is shown in its turn."""
    drawn_at: float
    asked_at: float
    seconds: float
    """Of a core, to draw and encode it."""


class FigureAnswers:
    """The answers of a process. `open_run` finds a run by its id; it raises RunError."""

    def __init__(self, open_run: Callable[[str], RunView]):
        self._open_run = open_run
        self._kept: OrderedDict[tuple[str, ...], _Kept] = OrderedDict()
        self._drawing = threading.RLock()

    def answer(
        self, name: str, query: Mapping[str, str], language: str = "en", *, newest: bool = False
    ) -> Answer:
        """The figure `name` for the parameters of an address; `newest` does not wait for its turn.

        Raises ConfigError for an unknown figure or a parameter that is not allowed, RunError for an
        unknown run.
        """
        entry, chosen = _asked(name, query)
        run = self._open_run(chosen.run)
        if run.job is not None:
            run.job.watch()
        key = (name, language, chosen.run, *chosen.to_query(entry.needs).values())
        now = time.monotonic()
        kept = self._kept.get(key)
        if kept is not None:
            kept.asked_at = now
            fresh = now - kept.drawn_at < self.interval(now) and kept.asked == _asked_for(run)
            if fresh and not newest:
                return kept.answer
        # While another figure is drawn, the one of before is better than none.
        waits = newest or kept is None or kept.answer.again is None
        waits = waits or kept.asked != _asked_for(run)  # type: ignore[union-attr]
        if not self._drawing.acquire(blocking=waits):
            return kept.answer  # type: ignore[union-attr]
        try:
            return self._draw(key, entry, run, chosen, language)
        finally:
            self._drawing.release()

    def interval(self, now: float) -> float:
        """Seconds between two drawings of the same figure, by what all that are looked at take."""
        looked_at = (k for k in list(self._kept.values()) if now - k.asked_at < LOOKED_AT_S)
        seconds = sum(kept.seconds for kept in looked_at if kept.answer.again is not None)
        return min(max(SHORTEST_S, seconds / SHARE_OF_A_CORE), LONGEST_S)

    def _draw(
        self,
        key: tuple[str, ...],
        entry: FigureEntry,
        run: RunView,
        chosen: Selection,
        language: str,
    ) -> Answer:
        now, kept, moment = time.monotonic(), self._kept.get(key), _moment(entry, run)
        asked = _asked_for(run)
        again = self.interval(now) if _goes_on(entry, run) else None
        same = kept is not None and (kept.asked, kept.moment) == (asked, moment)
        if kept is not None and same and kept.answer.document["state"] == "ready":
            kept.drawn_at = now
            if again == kept.answer.again:
                return kept.answer
            kept.answer = Answer({**kept.answer.document, "again": again})
            return kept.answer
        began = time.thread_time()
        with in_language(language):
            answer = Answer(_document(entry, run, chosen, again))
        _ = answer.body
        self._kept[key] = _Kept(answer, asked, moment, now, now, time.thread_time() - began)
        self._kept.move_to_end(key)
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return answer


def _asked(name: str, query: Mapping[str, str]) -> tuple[FigureEntry, Selection]:
    """The figure and the selection of a request. Raises ConfigError for anything else."""
    entry = figure_named(name)
    check_names(query, ("run", *entry.needs))
    return entry, Selection.from_query(query)


def _goes_on(entry: FigureEntry, run: RunView) -> bool:
    """Whether there will be something newer to see."""
    if entry.moment is not None:
        return bool(entry.moment())
    return run.live or measurements().at_work_on(run.id)


def _asked_for(run: RunView) -> tuple[Any, ...]:
    """Changes when a reader has asked for something, or what was asked for has ended."""
    return (id(run.source), run.live, measurements().changes, kept_maps().changes)


def _moment(entry: FigureEntry, run: RunView) -> tuple[Any, ...]:
    """Changes whenever the figure of a run that goes on may change."""
    if entry.moment is not None:
        return entry.moment()
    job = run.job
    if job is None:
        return ()
    return (id(run.history), job.state, job.steps_done, len(run.history.events))


def _document(
    entry: FigureEntry, run: RunView, chosen: Selection, again: float | None
) -> dict[str, Any]:
    card, state, text, progress = None, "ready", "", None
    try:
        if reason := entry.applies(run):
            raise NotReady("waiting", reason)
        card = encode_card(entry.draw(run, chosen))
    except NotReady as waiting:
        state, text, progress = waiting.state, waiting.text, waiting.progress
        if state == "working":
            again = again or SHORTEST_S
    except BnvizError as error:
        state, text = "failed", str(error)
    return {"card": card, "state": state, "text": text, "progress": progress, "again": again}


@cache
def figure_answers() -> FigureAnswers:
    """Those of the process."""
    return FigureAnswers(find_run_view)
