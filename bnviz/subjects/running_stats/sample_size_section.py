"""How many images population statistics need: asked for with a button, shown as one card."""

import pandas as pd
import streamlit as st

from bnviz.app.task_panel import found, newest_checkpoint, start_button, watch
from bnviz.config import EARLY_EVALUATIONS
from bnviz.i18n import _
from bnviz.subjects.running_stats.sample_size_figures import sample_size_key
from bnviz.training.run_view import RunView
from bnviz.training.tasks import Progress


def sample_size_panel(run: RunView, variant: str) -> None:
    """Until it is measured a button, progress or an error; then a button for newer weights."""
    key, newest = sample_size_key(run, variant), newest_checkpoint(run, variant)
    known: tuple[int, pd.DataFrame] | None = found(key)
    if watch(key):
        return
    source = run.source

    def work(progress: Progress) -> tuple[int, pd.DataFrame]:
        from bnviz.subjects.running_stats.sample_size import images_needed
        from bnviz.training.checkpoints import replayable_step

        step = replayable_step(source, variant)
        return step, images_needed(source, variant, step, progress=progress)

    if known is None:
        from bnviz.subjects.running_stats.sample_size import DRAWS, SIZES

        st.markdown(
            _(
                "**How many images are enough?** A short pass at frozen weights replaces all "
                "running averages. This measures it on {least:,} to {most:,} training images, {draws} "
                "draws each, both layer by layer and in one pass, and compares them with all "
                "training images: about a minute for Fashion-MNIST."
            ).format(least=SIZES[0], most=SIZES[-1], draws=DRAWS)
        )
        start_button(
            _("Measure how many images"), key, work, disabled=newest is None,
            help=_("The first checkpoint comes after {first} steps of a run.").format(first=EARLY_EVALUATIONS[0]),
        )  # fmt: skip
    elif newest is not None and newest > known[0]:
        start_button(
            _("Measure again, at step {step:,}").format(step=newest), key, work, again=True,
            help=_("What is shown was measured at step {step:,}.").format(step=known[0]),
        )  # fmt: skip
