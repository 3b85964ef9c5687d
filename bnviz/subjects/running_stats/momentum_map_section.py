"""Momentum x batch size: the run's settings trained at other batch sizes, kept with the run."""

import pandas as pd
import streamlit as st

from bnviz.app.task_panel import Task
from bnviz.i18n import _
from bnviz.records.momentum_maps import (
    BATCH_SIZES,
    COMPARED_MOMENTA,
    DEFAULT_IMAGES,
)
from bnviz.subjects.running_stats.momentum_map import IMAGES, momentum_map
from bnviz.subjects.running_stats.momentum_map_figures import map_key
from bnviz.training.process import kept_maps
from bnviz.training.run_view import RunView
from bnviz.training.tasks import Progress

SECONDS_A_SIZE, SECONDS_A_STEP, SECONDS_AN_IMAGE = 4.0, 0.004, 0.0001


def images_control() -> int:
    """For how many images each batch size is trained."""
    return st.selectbox(
        _("Images to train on, at each batch size"), IMAGES, index=IMAGES.index(DEFAULT_IMAGES),
        format_func=lambda n: f"{n:,}", key="images", bind="query-params", width=280,
        help=_(
            "The same number for each batch size, so the small ones make more steps. More than "
            "the data set has is another round of it."
        ),
    )  # fmt: skip


def momentum_map_panel(run: RunView, variant: str, images: int) -> None:
    """The task that trains what is missing of the map, and why the map could not be kept."""
    where = (run.id, run.source.folder, variant, images)
    frame, note = kept_maps().load(*where)
    missing = set(BATCH_SIZES) - set(frame["batch_size"])
    if missing:
        _task_of(run, variant, images, missing).panel()
    if note:
        st.caption(note)


def _task_of(run: RunView, variant: str, images: int, missing: set[int]) -> Task:
    where, config = (run.id, run.source.folder, variant, images), run.config

    def measure(progress: Progress) -> pd.DataFrame:
        return momentum_map(
            config, variant, images, progress,
            kept=kept_maps().load(*where)[0],
            keep=lambda found: kept_maps().save(*where, found),
        )  # fmt: skip

    begun = len(missing) < len(BATCH_SIZES)
    button = (
        _("Go on with batch size {rest}").format(rest=_words(missing))
        if begun
        else _("Make the map")
    )
    return Task(
        key=map_key(run, variant, images),
        measure=measure,
        button=button,
        again=button,
        expected_s=sum(
            SECONDS_A_SIZE + images * (SECONDS_AN_IMAGE + SECONDS_A_STEP / size) for size in missing
        ),
        question=_question(run, variant, images),
        help=_("Trains in the background; what is finished stays when you cancel."),
    )


def _question(run: RunView, variant: str, images: int) -> str:
    return _(
        "**Does the best momentum depend on the batch size?** Trains {label} with this run's "
        "settings at batch {sizes}, on {images:,} images each, and tries {momenta} momenta in the "
        "weights of the end. The map stays with the run."
    ).format(
        label=run.labels[variant],
        sizes=_words(BATCH_SIZES),
        images=images,
        momenta=len(COMPARED_MOMENTA),
    )


def _words(sizes: "tuple[int, ...] | set[int]") -> str:
    return ", ".join(str(size) for size in sorted(sizes))
