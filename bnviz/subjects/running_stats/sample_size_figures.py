"""How many images population statistics need."""

from typing import Any

import pandas as pd

from bnviz.charts.applies import bn_figure
from bnviz.charts.card import HEIGHT, Card
from bnviz.charts.marks import Figure, curve, dots, drawing, one_entry, stacked, suffix
from bnviz.charts.task_words import not_measured
from bnviz.charts.theme import axis, colour, from_zero, stroke
from bnviz.i18n import N_, _
from bnviz.records.recorded_statistics import precise_batch
from bnviz.selection import Selection
from bnviz.training.process import measurements
from bnviz.training.run_view import RunView
from bnviz.training.tasks import Key

# Way of measuring to its name, dash and mark.
WAYS = {
    "layer_by_layer": (N_("layer by layer"), "solid", "circle"),
    "one_pass": (N_("in one pass of train-mode batches"), "dash", "square-open"),
}
NEAR = 0.005  # of accuracy: when all draws come so close to all images, they are enough
PANELS = (("accuracy", 100), ("mean_error", 1), ("var_error", 100))


def errors_over_images(needed: pd.DataFrame, variant: str) -> Figure:
    """Accuracy and errors of population statistics over the images that they were measured on.

    `needed`: what `bnviz.subjects.running_stats.sample_size.images_needed` returns. Each draw is a mark, their mean a
    line; the statistics of all images and the run's own go across.
    """
    data = []
    for panel, (quantity, factor) in enumerate(PANELS):
        for way in WAYS:
            data += _draws_and_mean(needed, panel, quantity, factor, way, variant)
        data += _across(needed, panel, quantity, factor, variant)
    rows_of_panels = [
        axis("accuracy"),
        from_zero("mean_error"),
        from_zero("var_error"),
    ]
    layout = stacked(rows_of_panels, axis("images", dtick=1, tickformat=","), gap=0.07)
    for k in range(len(PANELS)):
        layout[f"xaxis{suffix(k)}"]["type"] = "log"
    return drawing(data, layout)


def _draws_and_mean(
    needed: pd.DataFrame, panel: int, quantity: str, factor: float, way: str, variant: str
) -> list[dict[str, Any]]:
    """One of WAYS in one of PANELS: each draw as a mark, and the line of their means."""
    label, dash, symbol = WAYS[way]
    rows = needed[needed["how"] == way]
    mean = rows.groupby("images")[quantity].mean()
    shade, shown = variant if way == "layer_by_layer" else "average", ("images", quantity)
    marker = {"symbol": symbol, "size": 7, "color": colour(shade)}
    of_draws = one_entry(_(label), way, shown=False)
    of_mean = one_entry(_(label), way, shown=panel == 0)
    return [
        dots(panel, rows["images"], factor * rows[quantity], shown, marker, **of_draws),
        curve(panel, mean.index, factor * mean, shown, stroke(shade, dash), **of_mean),
    ]


def _across(
    needed: pd.DataFrame, panel: int, quantity: str, factor: float, variant: str
) -> list[dict[str, Any]]:
    """Lines for the statistics of all images (in the panel of accuracies) and for the run's own."""
    ends = [needed["images"][needed["how"].isin(WAYS)].min(), needed["images"].max()]
    styles = {
        "all": (_("all images"), "truth", "solid"),
        "own": (_("the run's own running statistics"), variant, "dot"),
    }
    return [
        curve(
            panel, ends, [factor * needed.loc[needed["how"] == how, quantity].iloc[0]] * 2,
            ("images", quantity), stroke(shade, dash, 1.6),
            **one_entry(label, how, shown=panel == 0),
        )
        for how, (label, shade, dash) in styles.items()
        if how == "own" or quantity == "accuracy"
    ]  # fmt: skip


def sample_size_key(run: RunView, variant: str) -> Key:
    """Its place among the measurements of the process."""
    return (run.id, "images", variant)


@bn_figure("running_stats/images", N_("Population statistics from few images"), needs=("variant",))
def sample_size(run: RunView, chosen: Selection) -> Card:
    """Accuracy and errors over the number of images."""
    variant = run.settled(chosen).variant
    task = measurements().get(*sample_size_key(run, variant))
    if task is None or task.found is None:
        raise not_measured(sample_size_key(run, variant))
    step, needed = task.found
    off = _off_by_size(needed)
    near = [size for size in off.index if (off[off.index >= size] <= NEAR).all()]
    shown = near[0] if near else off.index[-1]
    total = int(needed[needed["how"] == "all"]["images"].iloc[0])
    return Card(
        key="images",
        title=(
            _("{shown:,} images are enough here: accuracy as with all {all:,}")
            if near
            else _("Not even {shown:,} images are enough here")
        ).format(shown=shown, all=total),
        figure=errors_over_images(needed, variant),
        sentence=_sentence(run, variant, step, needed, off, shown),
        alt=_("Accuracy, error of mean and error of variance over the number of images"),
        height=HEIGHT + 170,
        asked=f"{variant} {step}",
    )


def _off_by_size(needed: pd.DataFrame) -> pd.Series:
    """By number of images, how far the accuracy of a draw is from that of all images, at most."""
    truth = needed[needed["how"] == "all"].iloc[0]
    draws = needed[needed["how"] == "layer_by_layer"]
    return (draws["accuracy"] - truth["accuracy"]).abs().groupby(draws["images"]).max()


def _sentence(
    run: RunView, variant: str, step: int, needed: pd.DataFrame, off: pd.Series, shown: int
) -> str:
    truth = needed[needed["how"] == "all"].iloc[0]
    draws = needed[needed["how"] == "layer_by_layer"]
    fewest = draws[draws["images"] == off.index[0]]["accuracy"]
    return _(
        "{label} at step {step:,}, layer by layer: {draws} draws of {shown:,} images come "
        "within {gap:.1f} points of all {all:,} ({truth:.1%}); with {fewest:,} they lie between "
        "{low:.1%} and {high:.1%}. From {largest:,} images the variance is off by {exact:.2g}%, "
        "by {one_pass:.2g}% in one pass, where each layer normalizes by its batch of {batch}."
    ).format(
        label=run.labels[variant], step=step, draws=draws["draw"].nunique(),
        shown=shown, gap=100 * off[shown], all=int(truth["images"]), truth=truth["accuracy"],
        fewest=off.index[0], low=fewest.min(), high=fewest.max(),
        largest=off.index[-1], exact=_off(needed, "layer_by_layer"),
        one_pass=_off(needed, "one_pass"), batch=precise_batch(run.config.batch_size),
    )  # fmt: skip


def _off(needed: pd.DataFrame, how: str) -> float:
    """Error of the variance in % from the most images, the mean of the draws."""
    rows = needed[needed["how"] == how]
    return 100 * float(rows[rows["images"] == rows["images"].max()]["var_error"].mean())
