"""Side effects: what passes in train mode do to the statistics, though no weight moves."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st

from bnviz import data
from bnviz.app.card_grid import board
from bnviz.charts.card import Card
from bnviz.i18n import N_, _
from bnviz.records.recorded_statistics import precise_batch
from bnviz.subjects.modes.mode_selection_section import Sides, model_of
from bnviz.subjects.modes.side_effects_figures import accuracy_after
from bnviz.training.run_view import RunView

if TYPE_CHECKING:
    from bnviz.subjects.modes.side_effects import Moved

HEIGHT = 360
SEEN = {
    "training": N_("training images"),
    "one class": N_("training images of one class"),
    "darker": N_("darker training images"),
}
WAYS = {
    "plain": N_("a forward pass a batch"),
    "accumulated": N_("gradients accumulated over 4 parts"),
    "checkpointed": N_("activation checkpointing"),
}
STEPS = 20


def show(run: RunView, sides: Sides) -> None:
    """Batches pass in train mode: what it does to the statistics and to later predictions."""
    st.caption(_("What moves the statistics, though no weight moves."))
    seen = st.segmented_control(
        _("Images that pass in train mode"), list(SEEN), default="training", required=True,
        key="rules_images", bind="query-params", format_func=lambda v: _(SEEN[v]),
        help=_("{n} batches of the run's size; the weights are frozen.").format(n=STEPS),
    )  # fmt: skip
    before, found = _effects(sides.train_only(), str(seen), sides.momentum)
    board([_effects_card(sides, before, found, str(seen))], key="rules", revision=run.id)
    st.dataframe(
        pd.DataFrame(
            {
                _("way"): [_(WAYS[way]) for way in found],
                _("momentum a step, computed"): [m.expected for m, _a in found.values()],
                _("measured"): [m.momentum for m, _a in found.values()],
                _("eval after, %"): [100 * a for _m, a in found.values()],
                _("momentum to set instead"): [
                    _compensated(sides.momentum, moved.expected) for moved, _a in found.values()
                ],
            }
        ),
        hide_index=True,
        column_config={
            name: st.column_config.NumberColumn(format="%.4g")
            for name in (
                _("momentum a step, computed"),
                _("measured"),
                _("momentum to set instead"),
            )
        }
        | {_("eval after, %"): st.column_config.NumberColumn(format="%.1f")},
    )


def _compensated(momentum: float, expected: float) -> float:
    """Momentum of each update that moves the statistics in a step as one of `momentum` would."""
    if momentum in (0.0, 1.0):
        return momentum
    updates = np.log1p(-expected) / np.log1p(-momentum)
    return float(1 - (1 - momentum) ** (1 / updates))


@st.cache_data(max_entries=32, show_spinner=False)
def _effects(
    sides: Sides, seen: str, momentum: float
) -> "tuple[float, dict[str, tuple[Moved, float]]]":
    """Eval accuracy on all test images before, and each way's statistics and accuracy after."""
    import torch

    from bnviz.evaluation.population import evaluate_with_statistics
    from bnviz.subjects.modes.corruptions import shifted
    from bnviz.subjects.modes.side_effects import run_in_train_mode

    loaded = data.load(sides.dataset)
    train = loaded.train_images
    if seen == "one class":
        train = train[loaded.train_labels == 0]
    batch = max(precise_batch(sides.batch_size), 8)
    images = torch.tensor(train[: STEPS * batch])
    if seen == "darker":
        images = shifted(images, "brightness", 0.5)
    model = model_of(sides)
    test, labels = torch.tensor(loaded.test_images), torch.tensor(loaded.test_labels)
    before = evaluate_with_statistics(model, None, test, labels).accuracy
    found = {}
    for way in WAYS:
        moved = run_in_train_mode(model, images, way=way, batch_size=batch, momentum=momentum)
        after = evaluate_with_statistics(model, moved.statistics, test, labels).accuracy
        found[way] = (moved, after)
    return before, found


def _effects_card(
    sides: Sides, before: float, found: "dict[str, tuple[Moved, float]]", seen: str
) -> Card:
    plain, twice = found["plain"][1], found["checkpointed"][0]
    return Card(
        key="side_effects",
        title=_("Passes in train mode change later predictions: {points:+.1f} points").format(
            points=100 * (plain - before)
        ),
        figure=accuracy_after(before, {_(WAYS[way]): a for way, (_m, a) in found.items()}),
        sentence=_(
            "{n} batches of {what} at momentum {m:g}, weights frozen: eval mode on all test images, "
            "with the statistics that the layers keep, goes from {before:.1%} to {plain:.1%}. With checkpointing each batch counts twice, so a step "
            "moves the statistics as one at momentum {measured:.3g} would."
        ).format(
            n=STEPS, what=_(SEEN[seen]), m=sides.momentum, before=before, plain=plain,
            measured=twice.momentum,
        ),
        alt=_("Accuracy in eval mode before and after passes in train mode"),
        height=HEIGHT,
        asked=f"{sides} {seen}",
        wide=True,
    )  # fmt: skip
