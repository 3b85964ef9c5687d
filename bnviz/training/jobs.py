"""Runs in the background: a `Job` is a thread, `Jobs` is the queue of a process.

    queued → preparing → running ⇄ paused → done | stopped | failed

The thread never touches the page: it writes the history and the few fields of its job, which the
page reads. Commands (pause, step, set, stop) wait in the job and are obeyed between two steps.
"""

import atexit
import threading
import time
from collections import deque
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any

from bnviz import data
from bnviz.config import RunConfig
from bnviz.errors import RunError
from bnviz.i18n import _
from bnviz.records.history import History
from bnviz.records.schema import schemas
from bnviz.records.store import RunWriter, checkpoint_steps, new_run_id, read_checkpoint
from bnviz.training.worker import Worker

UNWATCHED_S = 600.0  # a run that nobody looks at ends after this long, with its results kept
RATE_WINDOW_S = 5.0
REPORT_S = 10.0  # between two reports of a run that is paused
YIELD_S = 0.2  # for which a run pauses when the reader moves a control


class State(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    PREPARING = "preparing"
    RUNNING = "running"
    PAUSED = "paused"
    FINISHING = "finishing"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


ENDED = (State.DONE, State.STOPPED, State.FAILED)


class Job(Worker):
    """One run in a thread of its own."""

    def __init__(self, config: RunConfig, root: Path | None, run_id: str):
        super().__init__(run_id)
        self.id = run_id
        self.config = config
        self.state = State.QUEUED
        self.warning: str | None = None
        """What does not stop the run but must be said (nothing is stored, say)."""
        self.summary: dict[str, Any] | None = None
        self.folder: Path | None = None
        self.history = History(schemas(config.variants))
        self.steps_done = 0
        self.total_steps = 0
        self.observing_share = 0.0
        self.gradients_share = 0.0
        """Share of the time, 0 to 1, that recording gradients takes; a part of observing."""
        self.stopped_variants: dict[str, str] = {}
        self.dataset_line = ""
        self.settings: dict[str, float | None] = {}
        """`lr`, `momentum` and `eps` as they are now."""
        self.seconds = 0.0
        self._root = root
        self._writer: RunWriter | None = None
        self._trainer: Any = None
        self._steps_allowed: int | None = None  # before it pauses; None is no limit
        self._watched = self._rests_until = time.monotonic()
        self._rate: deque[tuple[float, int]] = deque(maxlen=256)
        self._on_end: Callable[[Job], None] = lambda job: None

    # -- what the page reads ------------------------------------------------------------------

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.state in ENDED

    @property
    def never_began(self) -> bool:
        """Whether it was stopped while it waited, so that nothing was recorded."""
        return self.state is State.STOPPED and not self.total_steps

    @property
    def progress(self) -> float:
        """Share of the steps that is done, 0 to 1."""
        return min(self.steps_done / self.total_steps, 1.0) if self.total_steps else 0.0

    @property
    def steps_per_second(self) -> float:
        """Lock-step rate over the last seconds, 0 while it is not known."""
        rate = list(self._rate)
        if len(rate) < 2 or rate[-1][0] == rate[0][0]:
            return 0.0
        return (rate[-1][1] - rate[0][1]) / (rate[-1][0] - rate[0][0])

    @property
    def seconds_left(self) -> float | None:
        """Estimated time to the end, or None while it is not known."""
        rate = self.steps_per_second
        return (self.total_steps - self.steps_done) / rate if rate else None

    def checkpoints(self, variant: str) -> list[int]:
        """Steps at which weights of `variant` were stored, ascending."""
        return checkpoint_steps(self.folder, variant) if self.folder else []

    def checkpoint(self, step: int, variant: str) -> dict[str, Any]:
        """The tensors of a checkpoint. Raises RunError when there is none."""
        if self.folder is None:
            raise RunError(_("This run is not stored, so it has no checkpoints."))
        return read_checkpoint(self.folder, step, variant)

    # -- what the page asks for ---------------------------------------------------------------

    def watch(self) -> None:
        """Somebody looks: do not end for lack of interest."""
        self._watched = time.monotonic()

    def yield_cpu(self, seconds: float | None = None) -> None:
        """Leave the machine to the page for a while (YIELD_S): somebody waits for an answer there.

        Page, browser and training share a few cores, and an answer that comes late costs the
        reader more than the rest costs the run.
        """
        self._rests_until = time.monotonic() + (YIELD_S if seconds is None else seconds)

    def pause(self) -> None:
        """Stop between two steps until `resume` or `step`."""
        self._allow(0)

    def resume(self) -> None:
        """Go on to the end."""
        self._allow(None)

    def step(self, count: int) -> None:
        """Make `count` more steps, then pause."""
        self._allow(count)

    def set(self, **values: float | None) -> None:
        """Change `lr`, `momentum` or `eps` before the next step.

        Raises ConfigError for a value that the config would refuse.
        """
        RunConfig.parse(**{**self.config.model_dump(), **values})
        self.watch()
        self.post(lambda: self._trainer.set(**values))

    def _allow(self, steps: int | None) -> None:
        def allow() -> None:
            self._steps_allowed = steps

        self.watch()
        self.post(allow)

    # -- the thread ---------------------------------------------------------------------------

    def work(self) -> None:
        """Train, unless it was stopped before its turn came."""
        if not self.stopping:
            self._run()
        self.state = State.STOPPED if self.stopping else State.DONE

    def failed(self, error: Exception) -> str:
        """What to do about an error that no one has foreseen."""
        return _(
            "The training thread failed: {kind}: {error}. What was recorded is kept; the "
            "full trace is in the terminal. Start again or change the settings."
        ).format(kind=type(error).__name__, error=error)

    def at_end(self) -> None:
        """Let the next one of the queue begin."""
        if self.error is not None:
            self.state = State.FAILED
        self._on_end(self)

    def _run(self) -> None:
        from bnviz.training.steps import leave_one_core_free
        from bnviz.training.trainer import Trainer, check

        self.state = State.PREPARING
        leave_one_core_free()
        dataset = data.load(self.config.dataset, download=True)
        self.dataset_line = data.describe(dataset)
        check(self.config, dataset)
        writer = self._open_writer()
        began = time.monotonic()
        with Trainer(self.config, dataset, history=self.history) as trainer:
            self._trainer = trainer
            self.total_steps = trainer.total_steps
            if writer is not None:
                trainer.on_checkpoint = writer.checkpoint
            self.state = State.RUNNING
            try:
                self._loop(trainer)
                self.state = State.FINISHING
                trainer.finish()
                trainer.checkpoint()
            finally:
                trainer.flush()
                self.seconds = time.monotonic() - began
                self.summary = trainer.summary(self.seconds)
                if writer is not None:
                    writer.finish(self.summary)
                    self.warning = self.warning or writer.error

    def _open_writer(self) -> RunWriter | None:
        if self._root is None:
            return None
        try:
            writer = RunWriter(self._root, self.id, self.config)
        except RunError as error:
            self.warning = str(error)
            return None
        self.folder, self.history, self._writer = writer.folder, writer.history, writer
        return writer

    def _loop(self, trainer: Any) -> None:
        while not trainer.done and not self.stopping:
            self.answer()
            if self._steps_allowed == 0:
                self._wait(trainer)
                continue
            if (rest := self._rests_until - time.monotonic()) > 0:
                time.sleep(rest)
            trainer.step()
            if self._steps_allowed is not None:
                self._steps_allowed -= 1
            self.steps_done = trainer.step_count
            if self.steps_done % 5 == 0 or self._steps_allowed == 0:
                self._report(trainer)
        self._report(trainer)

    def _report(self, trainer: Any) -> None:
        now = time.monotonic()
        self._rate.append((now, self.steps_done))
        while now - self._rate[0][0] > RATE_WINDOW_S and len(self._rate) > 2:
            self._rate.popleft()
        self.observing_share = trainer.observing_share
        self.gradients_share = trainer.gradients_share
        self.settings = dict(trainer.settings)
        self.stopped_variants = {k: r.stopped for k, r in trainer.runs.items() if r.stopped}
        if self._writer is not None and self.warning is None:
            self.warning = self._writer.error
        if now - self._watched > UNWATCHED_S:
            self.warning = _(
                "Nobody looked at this run for {minutes} minutes, so it ended."
            ).format(minutes=round(UNWATCHED_S / 60))
            self.stopping = True

    def _wait(self, trainer: Any) -> None:
        """Pause: show all that was recorded, then sleep until a command comes."""
        trainer.flush()
        self._report(trainer)
        self._rate.clear()
        self.state = State.PAUSED
        while not self.sleep(REPORT_S):
            self._report(trainer)
        self._rate.clear()
        self.state = State.RUNNING


class Jobs:
    """The jobs of a process: so many at a time, the rest in a queue in order of starting."""

    def __init__(self, at_once: int = 1):
        self._at_once = at_once
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._waiting: list[Job] = []
        self._running: list[Job] = []
        atexit.register(self.stop_all)

    def start(self, config: RunConfig, root: Path | None) -> Job:
        """Start a run, or put it into the queue behind those that are running."""
        with self._lock:
            job = Job(config, root, new_run_id(config, root, self._jobs))
            job._on_end = self._ended
            self._jobs[job.id] = job
            self._waiting.append(job)
        self._next()
        return job

    def get(self, run_id: str) -> Job | None:
        """The job of that id, or None."""
        return self._jobs.get(run_id)

    def all(self) -> list[Job]:
        """All jobs of this process that have begun or will, newest first."""
        known = list(self._jobs.values())  # at once: another thread may start one meanwhile
        return [job for job in known[::-1] if not job.never_began]

    @property
    def going_on(self) -> Job | None:
        """The job that is at work, else the one that is next, if any."""
        return next((job for job in list(self._jobs.values()) if not job.ended), None)

    def place(self, job: Job) -> int:
        """How many runs must end before this one begins; 0 when it has begun."""
        with self._lock:
            return self._waiting.index(job) + 1 if job in self._waiting else 0

    def yield_cpu(self, seconds: float | None = None) -> None:
        """Let all that train leave the machine to the page, see `Job.yield_cpu`."""
        with self._lock:
            running = list(self._running)
        for job in running:
            job.yield_cpu(seconds)

    def forget(self, run_id: str) -> None:
        """Drop an ended job (its stored run stays)."""
        job = self._jobs.get(run_id)
        if job is not None and job.ended:
            del self._jobs[run_id]

    def stop(self, job: Job) -> None:
        """Stop a job; one that still waits leaves nothing in the list, for it has recorded nothing."""
        job.stop()
        with self._lock:
            if job not in self._waiting:
                return
            self._waiting.remove(job)
        job.state = State.STOPPED

    def stop_all(self) -> None:
        """Stop every job and wait: a thread inside torch must not outlive the interpreter."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
            running = list(self._running)
        for job in waiting:
            job.state = State.STOPPED
        for job in running:
            job.stop()
        for job in running:
            job.join(timeout=20.0)

    def _ended(self, job: Job) -> None:
        with self._lock:
            if job in self._running:
                self._running.remove(job)
        self._next()

    def _next(self) -> None:
        with self._lock:
            while self._waiting and len(self._running) < self._at_once:
                job = self._waiting.pop(0)
                self._running.append(job)
                job.start()
