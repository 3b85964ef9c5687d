"""What keeps it alive: from a running statistic to the saved activations of past batches."""

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from bnviz.app.card_grid import board
from bnviz.charts.card import Card
from bnviz.charts.formatting import size_words
from bnviz.i18n import _
from bnviz.records.schema import LAYERS
from bnviz.subjects.memory.chain_figures import graph_behind
from bnviz.subjects.memory.memory_experiment_figures import bytes_by_batch
from bnviz.subjects.memory.memory_experiment_section import on_show
from bnviz.subjects.memory.sections import lab

if TYPE_CHECKING:
    from bnviz.census.chain import Chain
    from bnviz.subjects.memory.experiment_config import LeakConfig
    from bnviz.subjects.memory.memory_experiment import Experiment

SHOWN_BATCHES = 120
HOLDING = 1000
"""Bytes from which on a batch is said to hold its activations; a training step leaves 128."""
CHOSEN = "mem_chain_batch"
HEIGHT = 620


def controls() -> tuple[str, str]:
    """The layer and which of its running statistics."""
    with st.container(horizontal=True, gap="medium"):
        layer = st.segmented_control(
            _("BN layer"), list(LAYERS), default="conv2", required=True, key="mem_chain_layer",
            bind="query-params", help=_("The deeper it stands, the more hangs behind its statistics."),
        )  # fmt: skip
        statistic = st.segmented_control(
            _("Statistic"), ["running_mean", "running_var"], default="running_mean",
            required=True, key="mem_chain_statistic", bind="query-params",
            help=_("The variance also holds what was centred to compute it."),
        )  # fmt: skip
    return str(layer), str(statistic)


def show(config: "LeakConfig") -> None:
    """The graph of one batch, what each batch holds, and the sums by layer and operation."""
    layer, statistic = controls()
    experiment = on_show(config)
    batches = pd.DataFrame() if experiment is None else experiment.chain_batches()
    if experiment is None or batches.empty or not lab().going_on:
        st.caption(
            (
                _("The experiment that is going on keeps no chain. Drawn is")
                if lab().going_on
                else _("No chain is alive now. Drawn is")
            )
            + " "
            + _(
                "the one that a test batch of {n} images makes with graph kept, in train mode and with "
                "gradients on, worked out from shapes alone."
            ).format(n=config.batch_size)
        )
        from bnviz.subjects.memory.experiment_config import chain_of_shapes

        found = chain_of_shapes(config.batch_size, layer, statistic)
        batch = None
        board([_chain_card(found, layer, statistic, None)], key="chain_board", revision="shapes")
    else:
        batch = _chosen_batch(batches)
        found = experiment.chain(layer, statistic, batch)
        cards = [_chain_card(found, layer, statistic, batch), _batches_card(batches, batch)]
        board(cards, key="chain_board", revision=str(id(experiment)), on_pick=_choose)
        if st.session_state.get(CHOSEN) is not None:
            st.button(
                _("Back to the newest batch"), key="mem_newest", icon=":material/last_page:",
                on_click=_choose, args=(None,), help=_("Follows the chain as it grows."),
            )  # fmt: skip
    _table(experiment, batch)


def _chosen_batch(batches: pd.DataFrame) -> int:
    """The batch that was clicked, else the newest that holds something."""
    places = batches["batch"][batches["start"] == st.session_state.get(CHOSEN)]
    if len(places):
        return int(places.iloc[0])
    st.session_state[CHOSEN] = None  # its chain was cut, or is that of another experiment
    holding = batches["batch"][batches["bytes"] > HOLDING]
    return int(holding.iloc[-1]) if len(holding) else len(batches) - 1


def _choose(start: int | None) -> None:
    st.session_state[CHOSEN] = start


def _chain_card(found: "Chain", layer: str, statistic: str, batch: int | None) -> Card:
    from bnviz.subjects.memory.experiment_config import layer_names

    rows = layer_names()
    used = [name for name in rows if name in set(found.nodes["layer"])]
    nodes = found.nodes.assign(layer=found.nodes["layer"].map(rows))
    held, count = int(nodes["bytes"].sum()), len(nodes)
    where = _("batch {n} of the chain").format(n=batch) if batch is not None else _("a test batch")
    if count:
        most = nodes.iloc[int(nodes["bytes"].to_numpy().argmax())]
        words = _(
            "From {statistic} of {layer} (diamond) {n} nodes of {where} are reached, and the {held} "
            "that they saved; the largest is {operation} in {at}, {size}. The triangle leads on to "
            "the same statistic one batch before."
        ).format(
            statistic=statistic, layer=layer, n=count, where=where, held=size_words(held),
            operation=most["operation"], at=most["layer"], size=size_words(int(most["bytes"])),
        )  # fmt: skip
    else:
        words = _("Nothing of {where} hangs behind {statistic} of {layer}.").format(
            where=where, statistic=statistic, layer=layer
        )
    return Card(
        key="chain",
        title=_("What {statistic} of {layer} keeps alive").format(statistic=statistic, layer=layer),
        figure=graph_behind(
            nodes, found.edges, found.older, [rows[name] for name in used], statistic
        ),
        sentence=words,
        alt=_("The autograd graph from a running statistic to what the operations saved"),
        height=HEIGHT,
        asked=f"{layer} {statistic} {batch}",
        wide=True,
    )


def _batches_card(batches: pd.DataFrame, chosen: int) -> Card:
    newest = batches.tail(SHOWN_BATCHES)
    total, holding = int(batches["bytes"].sum()), int((batches["bytes"] > HOLDING).sum())
    return Card(
        key="chain_batches",
        title=(
            _("What each batch of the chain keeps: click one to open it above")
            if holding
            else _("What each batch left: no activations are held")
        ),
        figure=bytes_by_batch(newest, chosen),
        sentence=_(
            "{n:,} batches are alive, {holding:,} of them with their activations, {total} in all; "
            "shown are the newest {shown:,}. The least of them keeps {least:,} bytes."
        ).format(
            least=int(newest["bytes"].min()),
            n=len(batches),
            holding=holding,
            total=size_words(total),
            shown=len(newest),
        ),
        alt=_("Bytes that each batch of the chain keeps"),
        height=240,
        asked=str(chosen),
        pickable=True,
        wide=True,
    )


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
    from bnviz.subjects.memory.experiment_config import layer_names

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
