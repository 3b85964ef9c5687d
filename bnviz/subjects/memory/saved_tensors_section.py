"""Without any leak: what each layer keeps for the backward pass, and the memory of one step."""

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from bnviz import data
from bnviz.app.card_grid import board, plainly
from bnviz.charts.card import Card
from bnviz.charts.formatting import size_words
from bnviz.i18n import N_, _
from bnviz.nn.variants import VARIANTS
from bnviz.subjects.memory.saved_tensor_purposes import purpose
from bnviz.subjects.memory.saved_tensors_figures import (
    PHASE_NAMES,
    bytes_by_layer,
    memory_over_a_step,
)

if TYPE_CHECKING:
    import torch

    from bnviz.census.saved_tensors import StepMemory
    from bnviz.config import RunConfig

BATCH_SIZES = [2, 4, 8, 16, 32, 64, 128, 256, 512]
SAME_PEAK = 0.01
"""Peaks that differ by no larger share are called the same."""
KINDS = {
    "parameter": N_("no, a weight"),
    "buffer": N_("no, a buffer"),
    "input": N_("no, the batch"),
}
LABELS = {key: variant.label for key, variant in VARIANTS.items()}


@st.fragment(key="saved")
def section() -> None:
    """Batch size, bytes kept by layer, memory over a step, and every saved tensor by itself."""
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        batch_size = st.select_slider(
            _("Batch size"), BATCH_SIZES, value=256, key="saved_batch", bind="query-params",
            width=420, help=_("Real images go through; what is kept grows with their number."),
        )  # fmt: skip
        at_work = st.empty()
    with plainly():
        tensors = saved_tensors(batch_size)
        made = tensors[tensors["kind"] == "made"]
        metrics(made.groupby("variant")["bytes"].sum())
        left, right = st.columns(2, gap="medium")
        with left:
            board([kept_card(tensors, batch_size)], key="saved_kept", revision="saved")
        with at_work, st.spinner(_("Measuring one training step of each")):
            steps = steps_of(batch_size)
        with right:
            board([step_card(steps, batch_size)], key="saved_step", revision="saved")
        tensor_table(tensors)


def _batch(batch_size: int) -> "tuple[RunConfig, torch.Tensor, torch.Tensor]":
    """The first so many training images as network input, their labels, and a config for them."""
    import torch

    from bnviz.config import RunConfig
    from bnviz.evaluation.inference import to_input

    config = RunConfig.parse(batch_size=batch_size, device="cpu")
    images = data.load(config.dataset)
    inputs = to_input(torch.tensor(images.train_images[:batch_size]), torch.float32)
    return config, inputs, torch.tensor(images.train_labels[:batch_size])


@st.cache_data(max_entries=len(BATCH_SIZES), show_spinner=False)
def saved_tensors(batch_size: int) -> pd.DataFrame:
    """`bnviz.census.saved_tensors.saved_for_backward` of every variant, with a column variant."""
    import torch

    from bnviz.census.saved_tensors import saved_for_backward
    from bnviz.training.steps import build_model, leave_one_core_free

    leave_one_core_free()
    config, inputs, labels = _batch(batch_size)
    return pd.concat(
        [
            saved_for_backward(
                build_model(config, variant, torch.device("cpu")), inputs, labels
            ).assign(variant=variant)
            for variant in VARIANTS
        ],
        ignore_index=True,
    )


@st.cache_data(max_entries=len(BATCH_SIZES), show_spinner=False)
def steps_of(batch_size: int) -> "dict[str, StepMemory]":
    """`bnviz.census.saved_tensors.peak_of_a_step` of every variant."""
    import torch

    from bnviz.census.saved_tensors import peak_of_a_step
    from bnviz.training.steps import build_model, build_optimizer, leave_one_core_free

    leave_one_core_free()
    (config, inputs, labels), cpu = _batch(batch_size), torch.device("cpu")
    found = {}
    for variant in VARIANTS:
        model = build_model(config, variant, cpu)
        found[variant] = peak_of_a_step(model, build_optimizer(config, model, cpu), inputs, labels)
    return found


def metrics(made: pd.Series) -> None:
    """Bytes that the pass makes and keeps, by variant, beside nn.BatchNorm's."""
    help_text = _("{bytes:,} bytes; weights, buffers and the images are not among them.")
    with st.container(horizontal=True, gap="small"):
        for variant in VARIANTS:
            kept = int(made[variant])
            value = size_words(kept)
            if VARIANTS[variant].hand_written:
                value = _("{value}, {ratio:.2f} ×").format(
                    value=value, ratio=kept / made["builtin"]
                )
            st.metric(_(LABELS[variant]), value, border=True, help=help_text.format(bytes=kept))


def kept_card(tensors: pd.DataFrame, batch_size: int) -> Card:
    """What each layer keeps, by variant."""
    made = tensors[tensors["kind"] == "made"]
    kept = made.groupby("variant")["bytes"].sum()
    builtin = tensors[tensors["variant"] == "builtin"]
    anyway = builtin["bytes"].sum() - kept["builtin"]
    return Card(
        key="saved_kept",
        title=_("Written out, BN keeps three tensors where one is enough"),
        figure=bytes_by_layer(made, {key: _(label) for key, label in LABELS.items()}),
        sentence=_(
            "nn.BatchNorm keeps {builtin} at batch {batch}, the hand-written layer "
            "{composite:.2f} times that, the fused one {fused:.2f} times. Grey is what the "
            "other layers keep in all of them; weights and images, {anyway}, are held in any "
            "case."
        ).format(
            builtin=size_words(kept["builtin"]),
            batch=batch_size,
            composite=kept["composite"] / kept["builtin"],
            fused=kept["fused"] / kept["builtin"],
            anyway=size_words(anyway),
        ),
        alt=_("Bytes kept for the backward pass, by layer, one bar for each kind of BN"),
        height=380,
        asked=str(batch_size),
    )


def step_card(steps: "dict[str, StepMemory]", batch_size: int) -> Card:
    """Memory over one training step of each variant."""
    builtin, composite = steps["builtin"], steps["composite"]
    ratio = composite.peak / builtin.peak
    return Card(
        key="saved_step",
        title=_peak_title(ratio).format(ratio=ratio),
        figure=memory_over_a_step(
            {key: step.curve for key, step in steps.items()},
            {key: _(label) for key, label in LABELS.items()},
        ),
        sentence=_(
            "At batch {batch} the hand-written layer's step peaks at {composite}, in {where}, "
            "nn.BatchNorm's at {builtin}, in {there}. After the update {note} bytes stay with the note's "
            "layer, a link of its chain, and {rest} with nn.BatchNorm."
        ).format(
            batch=batch_size,
            composite=size_words(composite.peak),
            where=where(composite),
            builtin=size_words(builtin.peak),
            there=where(builtin),
            note=steps["note"].end,
            rest=builtin.end,
        ),
        alt=_(
            "Memory above the start over forward, backward and update, a line for each kind of BN"
        ),
        height=380,
        asked=str(batch_size),
    )


def _peak_title(ratio: float) -> str:
    """On the peak written out, so many times that of nn.BatchNorm.

    In small batches a convolution's workspace can hide what BN keeps; how large that is depends on
    the CPU.
    """
    if abs(ratio - 1) <= SAME_PEAK:
        return _("Written out, BN leaves the peak of a step as it is")
    if ratio < 1:
        return _("Written out, BN lowers the peak of a step to {ratio:.2f} times")
    return _("Written out, BN raises the peak of a step {ratio:.2f} times")


def where(step: "StepMemory") -> str:
    """What was at work at the peak: the autograd node, or the phase outside of backward."""
    return step.peak_operation or _(PHASE_NAMES[step.peak_phase])


def tensor_table(tensors: pd.DataFrame) -> None:
    """The saved tensors of one layer of one variant, and what each is for."""
    layers = list(dict.fromkeys(tensors["layer"]))
    variant = st.segmented_control(
        _("Norm layer"), list(VARIANTS), default="composite", required=True,
        key="saved_variant", bind="query-params", format_func=lambda v: _(LABELS[v]),
        help=_("Whose saved tensors are listed."),
    )  # fmt: skip
    layer = st.selectbox(
        _("Layer"), layers, index=layers.index("conv1 BN"), key="saved_layer",
        bind="query-params", width=320, help=_("In whose forward pass the tensors were saved."),
    )  # fmt: skip
    rows = tensors[(tensors["variant"] == variant) & (tensors["layer"] == layer)]
    if rows.empty:
        st.info(
            _("Without BN there is no such layer, so nothing is saved. Choose another layer."),
            icon=":material/info:",
        )
        return
    st.dataframe(
        shown(rows, variant),
        hide_index=True,
        row_height=36,
        column_config={
            "operation": st.column_config.TextColumn(_("operation")),
            "saved": st.column_config.TextColumn(_("saved as")),
            "shape": st.column_config.TextColumn(_("shape")),
            "size": st.column_config.NumberColumn(_("bytes"), format="localized"),
            "counts": st.column_config.TextColumn(
                _("counts?"),
                help=_(
                    "Weights, buffers and the batch are held in any case; one storage counts once."
                ),
            ),
            "purpose": st.column_config.TextColumn(_("what it is for"), width="large"),
        },
    )
    st.markdown(_("{layer} adds {bytes:,} bytes to what is kept.").format(
        layer=layer, bytes=rows["bytes"][rows["kind"] == "made"].sum()
    ))  # fmt: skip


def shown(rows: pd.DataFrame, variant: str) -> pd.DataFrame:
    """The rows as the table shows them: columns operation, saved, shape, size, counts, purpose."""
    table = rows[["operation", "saved", "size"]].copy()
    table.insert(2, "shape", [" × ".join(map(str, shape)) for shape in rows["shape"]])
    elsewhere = rows["counted_in"].where(rows["counted_in"] != rows["layer"], _("a row above"))
    table["counts"] = [
        _counts(*row) for row in zip(rows["kind"], rows["bytes"], elsewhere, strict=True)
    ]
    sentences = map(partial(purpose, variant), rows["operation"], rows["saved"])
    table["purpose"] = [_(sentence) if sentence else "" for sentence in sentences]
    return table


def _counts(kind: str, size: int, counted_in: str) -> str:
    """Whether a saved tensor adds to what is kept, and why not."""
    if kind in KINDS:
        return _(KINDS[kind])
    if size:
        return _("yes")
    return _("no, {layer} has it").format(layer=counted_in)
