"""How many images population statistics need."""

import pandas as pd

from bnviz.charts.applies import needs_bn
from bnviz.charts.card import HEIGHT, Card
from bnviz.charts.marks import Figure, drawing, scatter, stacked, suffix
from bnviz.charts.registry import figure
from bnviz.charts.task_words import not_measured
from bnviz.charts.theme import axis, colour, hover
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
PANELS = (("accuracy", 100), ("mean_error", 1), ("var_error", 100))


def errors_over_images(needed: pd.DataFrame, variant: str) -> Figure:
    """Accuracy and errors of population statistics over the images that they were measured on.

    `needed`: what `bnviz.subjects.running_stats.sample_size.images_needed` returns. Each draw is a mark, their mean a
    line; the statistics of all images and the run's own go across.
    """
    data = []
    for panel, (quantity, factor) in enumerate(PANELS):
        for way, (label, dash, symbol) in WAYS.items():
            rows = needed[needed["how"] == way]
            mean = rows.groupby("images")[quantity].mean()
            shade = colour(variant if way == "layer_by_layer" else "average")
            shared = {
                "legendgroup": way,
                "name": _(label),
                "hovertemplate": hover("images", quantity),
            }
            data += [
                scatter(
                    panel, rows["images"], factor * rows[quantity], mode="markers",
                    marker={"symbol": symbol, "size": 7, "color": shade},
                    showlegend=False, **shared,
                ),
                scatter(
                    panel, mean.index, factor * mean, mode="lines",
                    line={"color": shade, "dash": dash, "width": 2},
                    showlegend=panel == 0, **shared,
                ),
            ]  # fmt: skip
        data += _across(needed, panel, quantity, factor, variant)
    rows_of_panels = [
        axis("accuracy"),
        axis("mean_error", rangemode="tozero"),
        axis("var_error", rangemode="tozero"),
    ]
    layout = stacked(rows_of_panels, axis("images", dtick=1, tickformat=","), gap=0.07)
    for k in range(len(PANELS)):
        layout[f"xaxis{suffix(k)}"]["type"] = "log"
    return drawing(data, layout)


def _across(
    needed: pd.DataFrame, panel: int, quantity: str, factor: float, variant: str
) -> list[dict]:
    """Lines for the statistics of all images (in the panel of accuracies) and for the run's own."""
    ends = [needed["images"][needed["how"].isin(WAYS)].min(), needed["images"].max()]
    styles = {
        "all": (_("all images"), "truth", "solid"),
        "own": (_("the run's own running statistics"), variant, "dot"),
    }
    return [
        scatter(
            panel, ends, [factor * needed.loc[needed["how"] == how, quantity].iloc[0]] * 2,
            mode="lines", line={"color": colour(shade), "dash": dash, "width": 1.6},
            name=label, legendgroup=how, showlegend=panel == 0,
            hovertemplate=hover("images", quantity),
        )
        for how, (label, shade, dash) in styles.items()
        if how == "own" or quantity == "accuracy"
    ]  # fmt: skip


def sample_size_key(run: RunView, variant: str) -> Key:
    """Its place among the measurements of the process."""
    return (run.id, "images", variant)


@figure(
    "running_stats/images",
    N_("Population statistics from few images"),
    needs=("variant",),
    applies=needs_bn,
)
def sample_size(run: RunView, chosen: Selection) -> Card:
    """Accuracy and errors over the number of images."""
    variant = run.settled(chosen).variant
    task = measurements().get(*sample_size_key(run, variant))
    if task is None or task.found is None:
        raise not_measured(sample_size_key(run, variant))
    step, needed = task.found
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


NEAR = 0.005  # of accuracy: when all draws come so close to all images, they are enough
