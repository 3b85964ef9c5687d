"""What keeps it alive: from a running statistic to the saved activations of past batches."""

from typing import TYPE_CHECKING

import streamlit as st

from bnviz.app.card_grid import board, figure_board
from bnviz.app.controls import choice_control, selection
from bnviz.i18n import _
from bnviz.records.store import RECORDED_ID
from bnviz.selection import Selection
from bnviz.subjects.memory.chain_figures import chain_card, chosen_batch
from bnviz.subjects.memory.experiment_runner import lab
from bnviz.subjects.memory.memory_experiment_section import on_show
from bnviz.training.process import find_run_view

if TYPE_CHECKING:
    from bnviz.subjects.memory.experiment_config import LeakConfig
    from bnviz.subjects.memory.memory_experiment import Experiment

CHOSEN = "mem_chain_batch"


def show(config: "LeakConfig") -> None:
    """The graph of one batch, what each batch holds, and the sums by layer and operation."""
    names = {"running_mean": "running_mean", "running_var": "running_var"}
    statistic = choice_control(
        _("Statistic"), names, "statistic",
        help=_("The variance also keeps the centred values it was computed from."),
    )  # fmt: skip
    chosen = selection(find_run_view(RECORDED_ID)).model_copy(
        update={"statistic": statistic, "batch": st.session_state.get(CHOSEN)}
    )
    experiment = on_show(config)
    batch = None
    if experiment is None or not experiment.note_keeps or not lab().going_on:
        _chain_of_shapes(config, chosen)
    else:
        figure_board(
            find_run_view(RECORDED_ID), chosen, ["memory/chain", "memory/chain_batches"],
            key="chain_board", on_pick=_choose,
        )  # fmt: skip
        batch = chosen_batch(experiment.chain_batches(), chosen.batch)
        if chosen.batch is not None:
            st.button(
                _("Back to the latest batch"), key="mem_newest", icon=":material/last_page:",
                on_click=_choose, args=(None,), help=_("Follows the chain as it grows."),
            )  # fmt: skip
    _table(experiment, batch)


def _chain_of_shapes(config: "LeakConfig", chosen: Selection) -> None:
    """The chain that one test batch would make, where none is alive."""
    from bnviz.subjects.memory.expectation import chain_of_shapes

    if lab().going_on:
        text = _(
            "The experiment that is going on keeps no chain. Drawn is the one that a test batch of "
            "{n} images makes with graph kept, in train mode and with gradients on, worked out from "
            "shapes alone."
        )
    else:
        text = _(
            "No chain is alive now. Drawn is the one that a test batch of {n} images makes with graph "
            "kept, in train mode and with gradients on, worked out from shapes alone."
        )
    st.caption(text.format(n=config.batch_size))
    found = chain_of_shapes(config.batch_size, chosen.layer, chosen.statistic)
    card = chain_card(found, chosen.layer, chosen.statistic, None)
    board([card], key="chain_board", revision="shapes")


def _choose(start: int | None) -> None:
    st.session_state[CHOSEN] = start


def _table(experiment: "Experiment | None", batch: int | None) -> None:
    """Sums by layer and operation of the chain or of a batch, or of the last chain at its end."""
    if experiment is None:
        return
    whole = True
    if lab().going_on and batch is not None:
        whole = st.segmented_control(
            _("Sums by layer and operation"), ["chain", "batch"], default="chain", required=True,
            key="mem_table", bind="query-params",
            format_func=lambda k: _("whole chain") if k == "chain" else _("chosen batch"),
            help=_("Of all batches together, or of the one that is open above."),
        ) == "chain"  # fmt: skip
    frame = experiment.kept_table(None if whole else batch)
    if frame.empty:
        return
    from bnviz.subjects.memory.expectation import layer_names

    words = (
        _("**By layer and operation**, as the chain stands now")
        if lab().going_on
        else _("**By layer and operation**, as the chain stood when it ended")
    )
    st.markdown(words)
    st.dataframe(
        frame.assign(layer=frame["layer"].map(layer_names())),
        hide_index=True,
        height=320,
        column_config={
            "layer": st.column_config.TextColumn(_("layer"), width=110),
            "operation": st.column_config.TextColumn(_("operation"), width="medium"),
            "nodes": st.column_config.NumberColumn(_("nodes"), format="localized"),
            "bytes": st.column_config.NumberColumn(_("bytes saved"), format="localized"),
        },
    )
