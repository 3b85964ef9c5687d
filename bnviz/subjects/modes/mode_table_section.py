"""Rules: what a layer of this run does in each state."""

import numpy as np
import pandas as pd
import streamlit as st

from bnviz import data
from bnviz.i18n import N_, _, sentences
from bnviz.records.schema import LAYERS
from bnviz.subjects.modes.mode_selection_section import Sides, model_of
from bnviz.training.run_view import RunView

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


def show(_run: RunView, sides: Sides) -> None:
    """Three questions, what the chosen state does, and all of them."""
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
    st.subheader(_("The whole mode table: {n} states measured on this layer").format(n=len(table)))
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
