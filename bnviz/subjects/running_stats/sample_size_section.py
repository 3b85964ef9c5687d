"""How many images population statistics need: the task that measures it."""

import pandas as pd

from bnviz.app.task_panel import Task, task_on_weights
from bnviz.i18n import _
from bnviz.subjects.running_stats.sample_size_figures import sample_size_key
from bnviz.training.run_view import RunView
from bnviz.training.tasks import Progress

EXPECTED_S = 40.0


def sample_size(run: RunView, variant: str) -> Task:
    """Population statistics of the newest weights from few and from many images."""
    from bnviz.subjects.running_stats.sample_size import DRAWS, SIZES, images_needed
    from bnviz.training.checkpoints import replayable_step

    def measure(progress: Progress) -> tuple[int, pd.DataFrame]:
        step = replayable_step(run.source, variant)
        return step, images_needed(run.source, variant, step, progress=progress)

    return task_on_weights(
        run,
        variant,
        key=sample_size_key(run, variant),
        measure=measure,
        measured_at=lambda found: found[0],
        expected_s=EXPECTED_S,
        question=_(
            "**How many images are enough?** A short pass at frozen weights replaces all "
            "running averages. This measures it on {least:,} to {most:,} training images, {draws} "
            "draws each, both layer by layer and in one pass, and compares them with all "
            "training images."
        ).format(least=SIZES[0], most=SIZES[-1], draws=DRAWS),
    )
