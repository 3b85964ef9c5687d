"""What goes on in the background, in words: runs and tasks, as pages and the browser ask for it."""

from collections.abc import Callable, Sequence
from typing import Any

from bnviz.charts.task_words import progress_of_task
from bnviz.errors import ConfigError
from bnviz.i18n import _
from bnviz.training.jobs import Job, State
from bnviz.training.process import find_run_view, measurements
from bnviz.training.tasks import Key
from bnviz.units import duration

AGAIN_S = 0.5


Line = dict[str, Any]
"""``key``, ``text``, ``progress`` (0 to 1 or None) and ``again`` in seconds or None."""
LINES: dict[str, Callable[[], Line]] = {}
"""States that belong to neither a run nor a task, by name."""


def states(run_id: str | None, tasks: Sequence[str], lines: Sequence[str] = ()) -> list[Line]:
    """State, words and progress of a run and of tasks, by their ids, in this order.

    ``key`` changes when the page has to be drawn again; ``again`` is None where nothing more comes.
    Raises RunError for an unknown run, ConfigError for an unknown task.
    """
    found = [state_of_run(run_id)] if run_id is not None else []
    found += [state_of_task(_key_of(task)) for task in tasks]
    return found + [_line(name)() for name in lines]


def state_line(name: str) -> Callable[[Callable[[], Line]], Callable[[], Line]]:
    """Register a function that returns such a state: ``key``, ``text``, ``progress``, ``again``."""

    def register(state: Callable[[], Line]) -> Callable[[], Line]:
        LINES[name] = state
        return state

    return register


def task_id(key: Key) -> str:
    """The key of a task as one word of an address."""
    return "|".join(key)


def _line(name: str) -> Callable[[], Line]:
    if name not in LINES:
        raise ConfigError(
            _("line: got {name!r}; allowed: {names}.").format(name=name, names=", ".join(LINES))
        )
    return LINES[name]


def _key_of(task: str) -> Key:
    known = next((key for key in measurements().asked_for() if task_id(key) == task), None)
    if known is None:
        raise ConfigError(
            _("task: got {task!r}, which nobody has asked for here.").format(task=task)
        )
    return known


def state_of_run(run_id: str) -> Line:
    """Of a run. Raises RunError when there is none."""
    job = find_run_view(run_id).job
    if job is None:
        return {"key": "stored", "text": "", "progress": None, "again": None}
    job.watch()
    said = [job.state, job.error, job.warning, *job.stopped_variants]
    return {
        "key": "|".join(str(part) for part in said),
        "checkpoints": len(job.checkpoints(job.config.variants[0])),
        "text": progress_of_run(job),
        "progress": job.progress,
        "again": None if job.ended else AGAIN_S,
    }


def progress_of_run(job: Job) -> str:
    """Steps, time left, speed and what recording costs, in one line."""
    if not job.total_steps:
        return _("Getting the images and torch ready …")
    parts = [_("step {done:,} of {total:,}").format(done=job.steps_done, total=job.total_steps)]
    left = job.seconds_left
    if job.state is State.RUNNING and left is not None:
        parts.append(_("{left} left").format(left=duration(left)))
        parts.append(
            _("{rate:,.0f} images/s for each variant").format(
                rate=job.steps_per_second * job.config.batch_size
            )
        )
    if job.ended and job.summary:
        parts.append(_("took {time}").format(time=duration(job.summary["seconds"])))
    if job.config.gradients:
        parts.append(
            _("recording overhead {share:.1%}, of it gradients {gradients:.1%}").format(
                share=job.observing_share, gradients=job.gradients_share
            )
        )
    else:
        parts.append(_("recording overhead {share:.1%}").format(share=job.observing_share))
    return " · ".join(parts)


def state_of_task(key: Key) -> Line:
    """Of a task; of one that nobody has asked for, ``asked`` is its state."""
    task = measurements().get(*key)
    if task is None:
        return {"key": "unknown", "text": "", "progress": None, "again": None}
    state = "working" if task.going_on else "failed" if task.error else "ready"
    return {
        "key": state,
        "text": progress_of_task(task) if task.going_on else "",
        "progress": min(task.share, 1.0) if task.going_on else None,
        "again": AGAIN_S if task.going_on else None,
    }
