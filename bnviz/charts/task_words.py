"""Tasks in words: how far one is, and what a figure says before it has been measured."""

from bnviz.charts.registry import NotReady
from bnviz.i18n import _
from bnviz.training.process import measurements
from bnviz.training.tasks import Key, Measurement
from bnviz.units import duration


def progress_of_task(task: Measurement) -> str:
    """How many parts are done, and about how long the rest takes."""
    if task.waiting:
        return _("Waiting for another measurement")
    left = task.seconds_left
    if left is None:
        return _("Measuring: {done} of {parts}").format(done=task.done, parts=task.parts)
    return _("Measuring: {done} of {parts}, about {left} left").format(
        done=task.done, parts=task.parts, left=duration(left)
    )


def not_measured(key: Key) -> NotReady:
    """What stands for a figure whose task has found nothing yet."""
    task = measurements().get(*key)
    if task is not None and task.going_on:
        return NotReady("working", progress_of_task(task), min(task.share, 1.0))
    if task is not None and task.error:
        return NotReady("failed", task.error)
    return NotReady("asked", _("Not measured yet."))
