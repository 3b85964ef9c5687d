"""Who looks at a run: one base class, and when each of them looks."""

from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from bnviz.config import EARLY_EVALUATIONS, RunConfig

if TYPE_CHECKING:
    from bnviz.training.steps import NoteTested
    from bnviz.training.trainer import Trainer, VariantRun

GRADIENTS_SHARE = 0.6
"""Gradients are asked for and come with the stages, so they have a share on top of the budget."""


class Cadence:
    """Every so many steps, less often while its observers take more than their share of the time.

    `early` steps are always observed, so that a chart has its first point soon.
    """

    MAX_STRETCH = 10

    def __init__(self, every: int, share: float, early: tuple[int, ...] = ()):
        self.every, self.share, self.early = every, share, early
        self.now = False
        """Whether its observers look at the present step."""
        self.seconds = 0.0
        """What they have taken so far."""
        self._last = 0

    def decide(self, step: int, total: float) -> None:
        """Set `now` for `step`; the run has taken `total` seconds so far."""
        over_budget = self.seconds > self.share * total
        due = step % self.every == 0
        stretched = over_budget and step - self._last < self.MAX_STRETCH * self.every
        self.now = step in self.early or (due and not stretched)
        if self.now:
            self._last = step


def cadences(config: RunConfig) -> dict[str, Cadence]:
    """How the budget of observing is shared out; the rest of it is for the record of each step."""
    budget = config.observe_budget
    stages = 0.3 + (GRADIENTS_SHARE if config.gradients else 0.0)
    return {
        "always": Cadence(1, 1.0),
        "stages": Cadence(config.stages_every, stages * budget, early=(1,)),
        "memory": Cadence(config.memory_every, 0.2 * budget, early=(1,)),
        "evaluation": Cadence(config.eval_every, 0.4 * budget, EARLY_EVALUATIONS),
        "checkpoint": Cadence(config.checkpoint_every, 1.0, EARLY_EVALUATIONS),
    }


class Observer:
    """Looks at a run and never changes it. These methods do nothing; a subclass writes what it needs.

    One observer is made for each variant; with `of_each_variant` off, one for the whole run, whose
    `run` is None. Around an update and after a step it is called when its cadence says so, and its
    time is taken. Of several, those that come first are nearest to the update.
    """

    of_each_variant: ClassVar[bool] = True
    when: ClassVar[str] = "always"
    """The name of its cadence among `cadences`."""

    def __init__(self, trainer: "Trainer", run: "VariantRun"):
        self.trainer, self.run = trainer, run
        self.cadence = trainer.cadences[self.when]
        self.seconds = 0.0
        """What it has taken so far."""

    @classmethod
    def wanted(cls, config: RunConfig) -> bool:
        """Whether a run of `config` has it."""
        return True

    def spend(self, seconds: float) -> None:
        """Count so much time as its own."""
        self.seconds += seconds
        self.cadence.seconds += seconds

    def before_update(self, step: int) -> None:
        """The variant is about to make this step."""

    def after_update(self, step: int, loss: Tensor) -> None:
        """It has made it; `loss` (detached) is that of before the update."""

    def failed(self) -> None:
        """The update raised an error: let go of what belongs to it."""

    def after_step(self, step: int) -> None:
        """All variants have made this step."""

    def after_test_batch(self) -> None:
        """The variant has seen a batch of the note's own test pass."""

    def after_test(self, step: int, tested: "NoteTested") -> None:
        """That pass is over."""

    def flush(self) -> None:
        """Bring what still waits into the history."""

    def finish(self) -> None:
        """The run has made its last step."""

    def close(self) -> None:
        """Let go of everything; the model is to be as it was."""
