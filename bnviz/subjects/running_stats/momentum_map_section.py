"""Momentum x batch size: the run's settings trained at other batch sizes, kept with the run."""

import pandas as pd
import streamlit as st

from bnviz.app.registry import kept_maps
from bnviz.app.runs import RunView
from bnviz.app.task_panel import Key, start_button, watch
from bnviz.charts.card import HEIGHT, Card
from bnviz.i18n import _
from bnviz.records.momentum_maps import (
    BATCH_SIZES,
    COMPARED_MOMENTA,
    best_by_batch_size,
    growing_best,
)
from bnviz.subjects.running_stats.momentum_map import IMAGES, momentum_map
from bnviz.subjects.running_stats.momentum_map_figures import accuracy_map, error_maps
from bnviz.training.tasks import Progress

DEFAULT_IMAGES = 16_000


def map_key(run: RunView, variant: str, images: int) -> Key:
    """Its place among the measurements of the process."""
    return (run.id, "map", variant, str(images))


def images_control() -> int:
    """For how many images each batch size is trained."""
    return st.selectbox(
        _("Images to train on, at each batch size"), IMAGES, index=IMAGES.index(DEFAULT_IMAGES),
        format_func=lambda n: f"{n:,}", key="map_images", bind="query-params", width=280,
        help=_(
            "The same number for each batch size, so the small ones make more steps. More than "
            "the data set has is another round of it."
        ),
    )  # fmt: skip


def momentum_maps(run: RunView, variant: str, images: int) -> pd.DataFrame:
    """The map as far as it is there, with the button, the progress or the error that belongs."""
    where = (run.id, run.source.folder, variant, images)
    frame, note = kept_maps().load(*where)
    key, config = map_key(run, variant, images), run.config

    def work(progress: Progress) -> pd.DataFrame:
        return momentum_map(
            config, variant, images, progress,
            kept=kept_maps().load(*where)[0],
            keep=lambda found: kept_maps().save(*where, found),
        )  # fmt: skip

    finished = sorted(set(frame["batch_size"]))
    if not watch(key) and len(finished) < len(BATCH_SIZES):
        st.markdown(_question(run, variant, images))
        start_button(
            _("Go on with batch size {rest}").format(rest=_words(set(BATCH_SIZES) - set(finished)))
            if finished
            else _("Make the map"),
            key, work, help=_("Trains in the background; what is finished stays when you cancel."),
        )  # fmt: skip
    if note:
        st.caption(note)
    return frame


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


def map_cards(run: RunView, variant: str, images: int, frame: pd.DataFrame) -> list[Card]:
    """Accuracy, and the error of the running mean with its noise; none before the first row."""
    if not len(frame):
        return []
    return [
        _accuracy_card(run, variant, images, frame),
        _errors_card(run, variant, images, frame),
    ]


def _accuracy_card(run: RunView, variant: str, images: int, frame: pd.DataFrame) -> Card:
    best = best_by_batch_size(frame)
    parts = [
        _("{m:g} at batch {batch} ({accuracy:.1%})").format(
            m=row["momentum"], batch=int(row["batch_size"]), accuracy=row["accuracy"]
        )
        for _index, row in best.iterrows()
    ]
    own = frame[frame["momentum"] == 0.1]
    lost = 100 * (best["accuracy"].to_numpy() - own["accuracy"].to_numpy())
    title = (
        _("The larger the batch, the larger the best momentum: {low:g} to {high:g}")
        if growing_best(frame) is not None
        else _("The best momentum by batch size: {low:g} to {high:g}")
    )
    return Card(
        key="map",
        title=title.format(low=best["momentum"].min(), high=best["momentum"].max()),
        figure=accuracy_map(frame, variant),
        sentence=_(
            "{label}, {images:,} images at each batch size, eval mode: the best momentum is "
            "{parts}. PyTorch's 0.1 costs up to {lost:.1f} points against it."
        ).format(label=run.labels[variant], images=images, parts=", ".join(parts), lost=lost.max()),
        alt=_("Accuracy in eval mode by batch size and momentum"),
        height=HEIGHT - 60,
        asked=f"{variant} {images}",
    )


def _errors_card(run: RunView, variant: str, images: int, frame: pd.DataFrame) -> Card:
    nearest = best_by_batch_size(frame, "mean_error", -1)
    smallest, largest = frame["batch_size"].min(), frame["batch_size"].max()
    low, high = COMPARED_MOMENTA[0], COMPARED_MOMENTA[-1]
    at = frame.set_index(["batch_size", "momentum"])
    lags = at["mean_error"].xs(low, level="momentum") > 2 * at["noise"].xs(low, level="momentum")
    return Card(
        key="map_errors",
        title=(
            _("A small momentum lags behind, a large one trembles")
            if lags.all()
            else _("How far the running mean is off, and how much of that is chance")
        ),
        figure=error_maps(frame),
        sentence=_(
            "At batch {smallest} the running mean is off by {lag:.2g} σ at m = {low:g}, of which "
            "chance is {still:.1g} σ: the rest is lag and what is left of the start value. At m = {high:g} it is off by {off:.2g} σ, "
            "chance alone {noise:.2g} σ. Nearest to the population: {nearest}."
        ).format(
            smallest=smallest,
            low=low,
            high=high,
            lag=at.loc[(smallest, low), "mean_error"],
            still=at.loc[(smallest, low), "noise"],
            off=at.loc[(smallest, high), "mean_error"],
            noise=at.loc[(smallest, high), "noise"],
            nearest=", ".join(
                _("m = {m:g} at batch {batch}").format(
                    m=row["momentum"], batch=int(row["batch_size"])
                )
                for _index, row in nearest[
                    nearest["batch_size"].isin([smallest, largest])
                ].iterrows()
            ),
        ),
        alt=_("Error of the running mean and its part by chance, by batch size and momentum"),
        height=HEIGHT - 60,
        asked=f"{variant} {images}",
    )
