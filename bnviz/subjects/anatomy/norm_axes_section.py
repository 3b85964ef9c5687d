"""The same cells normalized over other axes: the wrong ones for BN, and those of its relatives."""

import numpy as np
import pandas as pd
import streamlit as st

from bnviz.app.card_grid import board
from bnviz.charts.card import Card
from bnviz.i18n import _, sentences
from bnviz.subjects.anatomy.batchnorm_steps import SCHEMES, groups, normalize_over
from bnviz.subjects.anatomy.cells_figures import height_of, number, shared_means
from bnviz.subjects.anatomy.forward_section import cells_control, shape_chosen

OTHERS = [name for name in SCHEMES if name != "batch"]


def labels() -> dict[str, str]:
    """Each scheme in a few words."""
    return {
        "batch": _("batch norm: per channel"),
        "sample": _("layer norm: per sample"),
        "position": _("per position"),
        "all": _("over all"),
        "instance": _("instance norm"),
        "group": _("group norm"),
    }


def titles(flat: bool) -> dict[str, str]:
    """What to see in the card of each scheme."""
    return {
        "batch": _("Batch norm: a mean for each channel, over the batch"),
        "sample": _("Layer norm: a mean for each sample, over its channels"),
        "position": _("Per position: for (N, C) this is batch norm itself")
        if flat
        else _("Per position: as if each place of the map were a feature"),
        "all": _("Over all: one mean for everything"),
        "instance": _("Instance norm: a mean for each channel of each sample"),
        "group": _("Group norm: a mean for some channels of each sample"),
    }


def controls(channels: int) -> tuple[list[str], int]:
    """Which schemes are compared with batch norm, and how many groups group norm makes."""
    names, parts = labels(), [g for g in range(1, channels + 1) if channels % g == 0]
    if st.session_state.get("anat_groups") not in parts:
        st.session_state.pop("anat_groups", None)
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        shown = st.pills(
            _("Compared with"), OTHERS, selection_mode="multi", default=OTHERS,
            key="anat_schemes", wrap=True, bind="query-params", format_func=lambda name: names[name],
            help=_("Batch norm is right here; these take other cells together."),
        )  # fmt: skip
        count = st.segmented_control(
            _("Groups of channels"), parts, default=parts[min(1, len(parts) - 1)], required=True,
            key="anat_groups", bind="query-params",
            help=_("For group norm: 1 is layer norm, as many as channels is instance norm."),
        )  # fmt: skip
    return [name for name in OTHERS if name in shown], count


def scheme_card(x: np.ndarray, scheme: str, group_count: int, eps: float) -> Card:
    """The cells after normalizing over the groups of a scheme, coloured by group."""
    shared = groups(x.shape, scheme, group_count)
    count = int(shared.max()) + 1
    single = x.size == count
    found = normalize_over(x, shared, eps)
    right = normalize_over(x, groups(x.shape, "batch"), eps)
    over = tuple(axis for axis in range(x.ndim) if axis != 1)
    means, spreads = found.mean(over), found.std(over)
    number_of_means = (
        _("{n} means, each of a single cell.")
        if single
        else _("One mean over all {m} cells.")
        if count == 1
        else _("{n} means, each over {m} cells.")
    )
    sentence = sentences(
        number_of_means.format(n=count, m=x.size // count),
        _("The channels then have means {means} and standard deviations {spreads}.").format(
            means=_span(means), spreads=_span(spreads)
        ),
    )
    off = float(np.abs(found - right).max())
    if scheme != "batch":
        apart = (
            _("The largest difference to batch norm is {off}.").format(off=number(off))
            if off > 1e-12
            else _("No cell differs from batch norm.")
        )
        sentence = sentences(sentence, apart)
    if single:
        sentence = sentences(sentence, _("A cell that is its own mean becomes 0."))
    return Card(
        key=f"scheme_{scheme}",
        title=titles(x.ndim == 2)[scheme],
        figure=shared_means(found, shared, labels()[scheme]),
        sentence=sentence,
        alt=_("Normalized cells with their numbers, coloured by the mean that they share"),
        height=height_of(x.shape),
        asked=f"{x} {group_count} {eps}",
    )


def _span(values: np.ndarray) -> str:
    low, high = number(values.min()), number(values.max())
    return low if low == high else _("{low} to {high}").format(low=low, high=high)


def facts(x: np.ndarray, group_count: int, eps: float) -> pd.DataFrame:
    """One row a scheme: how many means, over how many cells, whether neighbours matter, how far from BN."""
    right = normalize_over(x, groups(x.shape, "batch"), eps)
    rows = []
    for scheme in SCHEMES:
        shared = groups(x.shape, scheme, group_count)
        count = int(shared.max()) + 1
        alone = scheme in ("sample", "instance", "group")
        off = float(np.abs(normalize_over(x, shared, eps) - right).max())
        rows.append((labels()[scheme], count, x.size // count, _("no") if alone else _("yes"), off))
    return pd.DataFrame(rows, columns=["scheme", "means", "cells", "neighbours", "off"])


def show() -> None:
    """The cells with batch norm beside them, then what other axes make of them.

    Raises ConfigError for a table with a cell that is no number.
    """
    st.caption(
        _(
            "What sets these apart is which cells share a mean. Over the wrong axes the "
            "channels keep their different units; layer, instance and group norm do without "
            "the other samples."
        )
    )
    shape, eps = shape_chosen(), st.session_state["eps"]
    left, right = st.columns([3, 2], gap="medium")
    with left:
        x = cells_control(shape)
    with right:
        board([scheme_card(x, "batch", 1, eps)], key="batch_norm", revision=str(shape))
    _compared(x, eps)


@st.fragment
def _compared(x: np.ndarray, eps: float) -> None:
    """The chosen schemes as cards on the same cells, and all of them in a table."""
    shown, count = controls(x.shape[1])
    if not shown:
        st.info(_("Choose at least one above."), icon=":material/info:")
    else:
        cards = [scheme_card(x, scheme, count, eps) for scheme in shown]
        board(cards, key="schemes", revision=str(x.shape))
    st.dataframe(
        facts(x, count, eps),
        hide_index=True,
        row_height=30,
        column_config={
            "scheme": st.column_config.TextColumn(_("normalized over")),
            "means": st.column_config.NumberColumn(_("means")),
            "cells": st.column_config.NumberColumn(_("cells in each")),
            "neighbours": st.column_config.TextColumn(
                _("other samples matter"),
                help=_("Where they do, eval mode needs running statistics."),
            ),
            "off": st.column_config.NumberColumn(
                _("largest difference to batch norm"), format="%.3g"
            ),
        },
    )
