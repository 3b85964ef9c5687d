"""Rules: what a layer of this run does in each state, and what moves statistics by the way."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st

from bnviz import data
from bnviz.app.card_grid import board
from bnviz.charts.card import Card
from bnviz.i18n import N_, _, sentences
from bnviz.records.recorded_statistics import precise_batch
from bnviz.records.schema import LAYERS
from bnviz.subjects.modes.mode_selection_section import Sides, model_of
from bnviz.subjects.modes.side_effects_figures import accuracy_after
from bnviz.training.run_view import RunView

if TYPE_CHECKING:
    from bnviz.subjects.modes.side_effects import Moved

HEIGHT = 360
MODES = {"train": N_("model.train()"), "eval": N_("model.eval()")}
KEPT = {
    "tracked": N_("as constructed: they follow the batches"),
    "momentum 0": N_("momentum=0"),
    "untracked": N_("track_running_stats=False"),
    "untracked, momentum 0": N_("both of these"),
}
FROZEN = {
    "nothing": N_("nothing"),
    "requires_grad_(False)": N_("requires_grad_(False)"),
    "no_grad()": N_("torch.no_grad()"),
    "both": N_("both"),
}
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
    """The table of a layer, then what moves its statistics without moving a weight."""
    _table(sides)
    _side_effects(run, sides)


def _table(sides: Sides) -> None:
    st.subheader(_("Mode table: what train(), eval() and freezing do"))
    layer = st.segmented_control(
        _("BN layer"), list(LAYERS), default="conv1", required=True, key="rules_layer",
        bind="query-params", help=_("Copies of it run on its inputs in this run."),
    )  # fmt: skip
    table = _rules(sides.train_only(), str(layer))
    mode = _question("rules_mode", _("1. Your model is in"), MODES)
    able = {k: v for k, v in KEPT.items() if k in set(table["kept"])}
    kept = _question("rules_kept", _("2. Its running statistics"), able)
    frozen = _question("rules_frozen", _("3. Frozen by"), FROZEN)
    mine = (table["mode"] == mode) & (table["kept"] == kept) & (table["frozen"] == frozen)
    st.markdown(_answer(table[mine].iloc[0]))
    yes, no = _("yes"), _("no")
    shown = pd.DataFrame(
        {
            _("your choice"): np.where(mine, "▶", ""),
            _("mode"): table["mode"].map(lambda v: _(MODES[v])),
            _("running statistics"): table["kept"].map(lambda v: _(KEPT[v])),
            _("frozen by"): table["frozen"].map(lambda v: _(FROZEN[v])),
            _("normalizes by"): table["normalizes"].map(
                {"batch": _("the batch"), "running": _("running statistics")}
            ),
            _("statistics move"): np.where(table["writes"], yes, no),
            _("gradient for weight and bias"): np.where(table["weight_gradient"], yes, no),
            _("propagated gradient ∂L/∂x"): np.where(table["input_gradient"], yes, no),
        }
    )
    with st.expander(
        _("The whole mode table: {n} states measured on this layer").format(n=len(table))
    ):
        st.dataframe(shown, hide_index=True)
    if len(able) < len(KEPT):
        st.caption(
            _("The note's layer has no `track_running_stats`, so those states are not there.")
        )


def _question(key: str, label: str, answers: dict[str, str]) -> str:
    return str(
        st.segmented_control(
            label, list(answers), default=next(iter(answers)), required=True, key=key,
            bind="query-params", format_func=lambda v: _(answers[v]),
        )
    )  # fmt: skip


def _answer(row: pd.Series) -> str:
    """What one state does, in a sentence."""
    return sentences(
        _("It normalizes by **the batch**.")
        if row["normalizes"] == "batch"
        else _("It normalizes by **the running statistics**."),
        _("The running statistics **move**.")
        if row["writes"]
        else _("The running statistics stay."),
        _("Weight and bias get a gradient.")
        if row["weight_gradient"]
        else _("Weight and bias get **no** gradient."),
        _("A gradient is propagated to earlier layers.")
        if row["input_gradient"]
        else _("No gradient is propagated to earlier layers."),
        _("Freezing does not stop the statistics: only `eval()` or momentum 0 does.")
        if row["writes"] and row["frozen"] != "nothing"
        else "",
    )


@st.cache_data(max_entries=32, show_spinner=False)
def _rules(sides: Sides, layer: str) -> pd.DataFrame:
    import torch

    from bnviz.subjects.modes.mode_table import truth_table_in

    images = torch.tensor(data.load(sides.dataset).train_images[:64])
    return truth_table_in(model_of(sides), layer, images)


# ---- what moves statistics -----------------------------------------------------------------------


def _side_effects(run: RunView, sides: Sides) -> None:
    st.subheader(_("What moves the statistics, though no weight moves"))
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
