"""The one memory experiment of a process, in a thread of its own."""

import threading
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from bnviz.errors import RunError
from bnviz.i18n import _
from bnviz.training.tasks import ENDS_WITHIN_S, Measurement

if TYPE_CHECKING:
    from bnviz.subjects.memory.experiment_config import LeakConfig
    from bnviz.subjects.memory.memory_experiment import Experiment


class Lab:
    """The one experiment of a process: it may hold much memory, so there is no second beside it.

    `connected` says of a viewer (see `Experiment.watch`) whether its page is still open.
    """

    def __init__(self, connected: Callable[[str], bool]) -> None:
        self._lock = threading.Lock()
        self._connected = connected
        self.experiment: Experiment | None = None
        self.measurement: Measurement | None = None

    @property
    def going_on(self) -> bool:
        """Whether an experiment holds memory now."""
        return self.experiment is not None and not self.experiment.ended

    def start(self, config: "LeakConfig") -> "Experiment":
        """Begin in a thread of its own.

        Raises ConfigError as `check`, RunError while another experiment is going on.
        """
        from bnviz.subjects.memory.expectation import check
        from bnviz.subjects.memory.memory_experiment import Experiment

        check(config)
        with self._lock:
            if self.experiment is not None and not self.experiment.ended:
                raise RunError(
                    _(
                        "An experiment is going on already (batch size {batch}, step {step:,} of "
                        "{steps:,}). End it first, or watch it below."
                    ).format(
                        batch=self.experiment.config.batch_size,
                        step=len(self.experiment.table),
                        steps=self.experiment.config.steps,
                    )
                )
            experiment = Experiment(config, hold=True, connected=self._connected)
            self.experiment, self.measurement = experiment, Measurement(experiment.run)
        return experiment

    def end(self) -> None:
        """Stop what is going on and wait until it has freed everything."""
        if self.experiment is not None and self.measurement is not None:
            self.experiment.stop()
            self.measurement.stop()
            self.measurement.join(ENDS_WITHIN_S)
            if not self.experiment.ended:  # its thread was ended before it could begin
                self.experiment.close()


_connected: Callable[[str], bool] = lambda viewer: True  # noqa: E731


def ask_whether_connected(connected: Callable[[str], bool]) -> None:
    """Register the function that says of a viewer whether its page is still open."""
    global _connected
    _connected = connected


@cache
def lab() -> Lab:
    """The memory experiment: one in a process, whoever looks."""
    return Lab(lambda viewer: _connected(viewer))
