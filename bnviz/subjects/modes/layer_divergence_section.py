"""Where it begins: layer by layer through the network, then channel by channel in one layer."""

import numpy as np
import pandas as pd
import streamlit as st

from bnviz.app.card_grid import board
from bnviz.app.controls import choice_control
from bnviz.charts.card import Card
from bnviz.i18n import _, sentences
from bnviz.records.schema import LAYERS
from bnviz.subjects.modes.layer_divergence_figures import (
    channels_apart,
    drift_chain,
    statistics_apart,
)
from bnviz.subjects.modes.mode_selection_section import (
    Sides,
    eval_options,
    model_of,
    order_of,
    test_images,
)
from bnviz.training.run_view import RunView

HEIGHT = 400
MOST = 16
"""Channels that are named one by one."""
SMALL = 0.02
"""Differences of a mean (in σ) or a standard deviation (relative) that are not spoken of."""


@st.cache_data(max_entries=64, show_spinner=False)
def _drift(sides: Sides) -> pd.DataFrame:
    import torch

    from bnviz.evaluation.modes import layer_drift

    images, _labels = test_images(sides.dataset, sides.images)
    return layer_drift(
        model_of(sides), torch.tensor(images), batch_size=sides.batch_size,
        order=order_of(sides), **eval_options(sides),
    )  # fmt: skip


def show(run: RunView, sides: Sides) -> None:
    """The chain, and the layer that was clicked. Raises ConfigError for a network without BN."""
    drift = _drift(sides)
    layers = list(LAYERS)

    def picked(number: int) -> None:
        st.session_state["layer"] = layers[number]

    layer = choice_control(
        _("BN layer"), {name: name for name in layers}, "layer", default="conv2",
        help=_("Or click a bar of the figure."),
    )  # fmt: skip
    rows = drift[drift["layer"] == layer]
    asked = f"{sides} {layer}"
    board(
        [_chain_card(run, drift, layer, asked), _channels_card(rows, layer, asked),
         _statistics_card(rows, layer, asked)],
        key="begins", revision=run.id, on_pick=picked,
    )  # fmt: skip


def chain_of(drift: pd.DataFrame) -> pd.Series:
    """By layer the root mean square over its channels of what `layer_drift` found."""
    return drift.groupby("layer", sort=False)["drift"].agg(lambda d: np.sqrt((d**2).mean()))


def _chain_card(run: RunView, drift: pd.DataFrame, layer: str, asked: str) -> Card:
    chain = chain_of(drift)
    first, worst = str(chain.index[0]), str(chain.idxmax())
    return Card(
        key="chain",
        title=_("Layer by layer: the modes are furthest apart after {layer}").format(layer=worst),
        figure=drift_chain(chain, layer),
        sentence=_(
            "The output of {first} differs by {at_first:.2f} of its standard deviation, the "
            "output of {worst} by {at_worst:.2f}. A layer's input already differs by what the "
            "layers before it changed; click one to see its channels."
        ).format(first=first, at_first=chain[first], worst=worst, at_worst=chain[worst]),
        alt=_("Difference of both modes after each BN layer"),
        height=HEIGHT,
        asked=asked,
        pickable=True,
    )


def _channels_card(rows: pd.DataFrame, layer: str, asked: str) -> Card:
    worst = rows.nlargest(MOST, "drift")
    first = worst.iloc[0]
    return Card(
        key="channels_apart",
        title=_("Which channels of {layer} differ most").format(layer=layer),
        figure=channels_apart(worst),
        sentence=sentences(
            _("Channel {channel} differs by {drift:.2f} of its standard deviation.").format(
                channel=int(first["channel"]), drift=first["drift"]
            ),
            _why(first),
        ),
        alt=_("The channels of a layer with the largest difference of both modes"),
        height=HEIGHT,
        asked=asked,
    )


def _why(row: pd.Series) -> str:
    """Which of its two statistics sets a channel apart more, if one does on average."""
    shift = (row["running_mean"] - row["batch_mean"]) / np.sqrt(row["batch_var"] or np.nan)
    ratio = np.sqrt(row["running_var"] / (row["batch_var"] or np.nan))
    if not max(abs(shift), abs(ratio - 1)) > SMALL:
        return _("On average both modes have the same statistics, but single batches differ.")
    if abs(shift) >= abs(ratio - 1):
        return _("Its running mean lies {shift:+.2f} σ from the mean of the batches.").format(
            shift=shift
        )
    return _("Its running standard deviation is {ratio:.2f} times that of the batches.").format(
        ratio=ratio
    )


def _statistics_card(rows: pd.DataFrame, layer: str, asked: str) -> Card:
    ratio = rows["running_var"] / rows["batch_var"].replace(0, np.nan)
    return Card(
        key="statistics_apart",
        title=_("Batch statistic against running statistic: {layer}").format(layer=layer),
        figure=statistics_apart(rows),
        sentence=_(
            "A channel on the cross has the same mean and variance in both modes. Half of the "
            "{n} channels have a running variance below {middle:.2f} times that of a batch."
        ).format(n=len(rows), middle=float(ratio.median())),
        alt=_("Each channel: shift of the mean and ratio of the variances between the modes"),
        height=HEIGHT,
        asked=asked,
        wide=True,
    )
