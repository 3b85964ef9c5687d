"""How many images population statistics need: asked for with a button, shown as one card."""

import pandas as pd
import streamlit as st

from bnviz.app.runs import RunView
from bnviz.app.task_panel import Key, found, newest_checkpoint, start_button, watch
from bnviz.charts.card import HEIGHT, Card
from bnviz.evaluation.population import precise_batch
from bnviz.i18n import _
from bnviz.subjects.running_stats.sample_size_figures import errors_over_images
from bnviz.training.tasks import Progress

NEAR = 0.005  # of accuracy: when all draws come so close to all images, they are enough


def enough_key(run: RunView, variant: str) -> Key:
    """Its place among the measurements of the process."""
    return (run.id, "images", variant)


def enough(run: RunView, variant: str) -> tuple[int, pd.DataFrame] | None:
    """The step that was measured and what was found; until then a button, progress or an error."""
    key, newest = enough_key(run, variant), newest_checkpoint(run, variant)
    known: tuple[int, pd.DataFrame] | None = found(key)
    if watch(key):
        return known
    source = run.source

    def work(progress: Progress) -> tuple[int, pd.DataFrame]:
        from bnviz.subjects.running_stats.sample_size import images_needed
        from bnviz.training.checkpoints import replayable_step

        step = replayable_step(source, variant)
        return step, images_needed(source, variant, step, progress=progress)

    if known is None:
        st.markdown(
            _(
                "**How many images are enough?** A short pass at frozen weights replaces all "
                "running averages. This measures it on 10 to 10,000 training images, three draws "
                "each, both layer by layer and in one pass, and holds them against all there are: "
                "about a minute for 60,000."
            )
        )
        start_button(
            _("Measure how many images"), key, work, disabled=newest is None,
            help=_("The first checkpoint comes after 20 steps of a run."),
        )  # fmt: skip
    elif newest is not None and newest > known[0]:
        start_button(
            _("Measure again, at step {step:,}").format(step=newest), key, work, again=True,
            help=_("What is shown was measured at step {step:,}.").format(step=known[0]),
        )  # fmt: skip
    return known


def enough_card(run: RunView, variant: str, step: int, needed: pd.DataFrame) -> Card:
    """Accuracy and errors over the number of images."""
    truth = needed[needed["how"] == "all"].iloc[0]
    draws = needed[needed["how"] == "layer_by_layer"]
    off = (draws["accuracy"] - truth["accuracy"]).abs().groupby(draws["images"]).max()
    near = [size for size in off.index if (off[off.index >= size] <= NEAR).all()]
    shown = near[0] if near else off.index[-1]
    fewest = draws[draws["images"] == off.index[0]]["accuracy"]
    return Card(
        key="images",
        title=(
            _("{shown:,} images are enough here: accuracy as with all {all:,}")
            if near
            else _("Not even {shown:,} images are enough here")
        ).format(shown=shown, all=int(truth["images"])),
        figure=errors_over_images(needed, variant),
        sentence=_(
            "{label} at step {step:,}, layer by layer: {draws} draws of {shown:,} images come "
            "within {gap:.1f} points of all {all:,} ({truth:.1%}); with {fewest:,} they lie between "
            "{low:.1%} and {high:.1%}. From {largest:,} images the variance is off by {exact:.2g}%, "
            "by {one_pass:.2g}% in one pass, where each layer normalizes by its batch of {batch}."
        ).format(
            label=run.labels[variant],
            step=step,
            draws=draws["draw"].nunique(),
            shown=shown,
            gap=100 * off[shown],
            all=int(truth["images"]),
            truth=truth["accuracy"],
            fewest=off.index[0],
            low=fewest.min(),
            high=fewest.max(),
            largest=off.index[-1],
            exact=_off(needed, "layer_by_layer"),
            one_pass=_off(needed, "one_pass"),
            batch=precise_batch(run.config.batch_size),
        ),
        alt=_("Accuracy, error of mean and error of variance over the number of images"),
        height=HEIGHT + 170,
        asked=f"{variant} {step}",
    )


def _off(needed: pd.DataFrame, how: str) -> float:
    """Error of the variance in % from the most images, the mean of the draws."""
    rows = needed[needed["how"] == how]
    return 100 * float(rows[rows["images"] == rows["images"].max()]["var_error"].mean())
