"""How many images population statistics need."""

import pandas as pd

from bnviz.charts.marks import Figure, figure, scatter, stacked, suffix
from bnviz.charts.theme import axis, colour, hover
from bnviz.i18n import N_, _

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
    return figure(data, layout)


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
