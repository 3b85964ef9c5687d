"""Prove it: a layer of this project beside torch's, measured when the reader asks."""

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from bnviz.app.card_grid import board
from bnviz.app.task_panel import Task
from bnviz.charts.card import Card
from bnviz.charts.theme import PALETTE
from bnviz.i18n import N_, _, sentences
from bnviz.nn.variants import VARIANTS
from bnviz.subjects.parity.parity_figures import differences_by_dtype
from bnviz.training.tasks import Key
from bnviz.units import MIB

if TYPE_CHECKING:
    from bnviz.subjects.parity.parity_report import Proof

COMMAND = "python -m bnviz check my_layers:MyBatchNorm --reference torch.nn.BatchNorm2d"
ALL, DIFFERING = N_("all cases"), N_("those that differ")
MARKS = {True: N_("✓ agrees"), False: N_("✗ differs")}
LAYERS = [key for key, v in VARIANTS.items() if v.normalizes and v.hand_written]

DEFAULT = "composite"
EXPECTED_S = 5.0


def proof_key(variant: str) -> Key:
    """Its place among the measurements of the process."""
    return ("layers", "prove_it", variant)


def prove_it() -> None:
    """The whole section: choose a layer, measure it, and see what came of it."""
    _section()
    st.markdown(
        _(
            "A layer of your own is compared with torch's, and each difference named, on the "
            "command line:"
        )
    )  # fmt: skip
    st.code(COMMAND, language="bash")


@st.fragment
def _section() -> None:
    variant = st.segmented_control(
        _("Layer to compare"), LAYERS, default=DEFAULT, required=True, key="prove_variant",
        bind="query-params", format_func=lambda v: _(VARIANTS[v].label),
        help=_("Its layers for (N, C) and for (N, C, H, W) are compared with torch's."),
    )  # fmt: skip
    proof: Proof | None = task_of(variant).panel()
    if proof is not None:
        show(proof)


def task_of(variant: str) -> Task:
    """The comparison of that variant's layers with torch's."""
    from bnviz.subjects.parity.parity_report import prove

    return Task(
        key=proof_key(variant),
        measure=lambda progress: prove(variant, progress),
        button=_("Measure"),
        again=_("Measure again"),
        expected_s=EXPECTED_S,
        question=_(
            "Nothing is measured yet: one button runs this layer and torch's on the same "
            "batches, in all shapes, dtypes, modes and options, and compares outputs, "
            "gradients and statistics."
        ),
        help=_("Nothing of a run is touched."),
    )


def show(proof: "Proof") -> None:
    """Metrics, causes, the figure, the fingerprint and the table of cases."""
    metrics(proof)
    st.markdown("\n".join(f"- `{cause.code}` {cause.sentence}" for cause in proof.causes))
    board([card(proof)], key="proof", revision=proof.variant)
    st.markdown(_("**Measured behaviour**"))
    st.dataframe(
        fingerprint_table(proof),
        hide_index=True,
        column_config={
            "property": st.column_config.TextColumn(_("property")),
            "own": st.column_config.TextColumn(_(VARIANTS[proof.variant].label)),
            "torch": st.column_config.TextColumn(_("torch")),
            "same": st.column_config.TextColumn(_("same?")),
        },
    )
    case_table(proof)


def metrics(proof: "Proof") -> None:
    """How many cases agree, how far apart the layers are, and what they cost."""
    frame = proof.frame
    count, single = frame["agrees"].notna().sum(), frame[frame["dtype"] == "float32"]
    parts = ("output_difference", "gradient_difference", "buffer_difference")
    output, gradient, buffer = (single[part].max() for part in parts)
    shape = "×".join(map(str, proof.shape))
    size = _("At {shape} in float32: {own:,} bytes, torch {torch:,}.").format(
        shape=shape, own=proof.own_bytes, torch=proof.reference_bytes
    )
    spent = _("Forward and backward at {shape}, in turns: {own:.2f} ms, torch {torch:.2f} ms.").format(
        shape=shape, own=proof.timing.own_ms, torch=proof.timing.reference_ms
    )  # fmt: skip
    entries = (
        (
            _("Cases that agree"),
            _("{agree} of {count}").format(agree=int(frame["agrees"].sum()), count=count),
            _(
                "Within the default tolerances of torch.testing.assert_close. {left} more "
                "could not be measured."
            )
            .format(left=len(frame) - count),
        ),
        (
            _("Largest difference, float32"),
            f"{max(output, gradient, buffer):.2g}",
            _("Outputs {output:.2g}, gradients {gradient:.2g}, statistics {buffer:.2g}.").format(
                output=output, gradient=gradient, buffer=buffer
            ),
        ),
        (
            _("Kept for backward"),
            _("{own:.2f} MiB, torch {torch:.2f}").format(
                own=proof.own_bytes / MIB, torch=proof.reference_bytes / MIB
            ),
            size,
        ),
        (_("Time"), _("{ratio:.2f} × torch's").format(ratio=proof.timing.ratio), spent),
    )  # fmt: skip
    with st.container(horizontal=True, gap="small"):
        for label, value, text in entries:
            st.metric(label, value, border=True, help=text)


def card(proof: "Proof") -> Card:
    """The largest difference of each case."""
    frame = proof.frame
    known = frame[frame["agrees"].notna()]
    agree = int(known["agrees"].sum())
    worst = known.iloc[int(known["of_tolerance"].fillna(0).to_numpy().argmax())]
    sentence = _(
        "{agree} of {count} cases agree; the largest difference is {share:.3g} times the "
        "tolerance, in {layer}: {name}. Marks at the lower edge are the same bits, or nearly."
    ).format(
        agree=agree,
        count=len(known),
        share=worst["of_tolerance"],
        layer=worst["layer"],
        name=worst["name"],
    )
    if not known["agrees"][known["of_tolerance"] <= 1].all():
        sentence = sentences(
            sentence, _("A cross below the line has equal numbers and differs in something else.")
        )
    return Card(
        key="proof",
        title=(
            _("Every case stays within the tolerance")
            if agree == len(known)
            else _("Cases above the line exceed the tolerance")
        ),
        figure=differences_by_dtype(frame),
        sentence=sentence,
        alt=_("Largest difference from torch's layer in each case, by dtype, and the tolerance"),
        asked=proof.variant,
        wide=True,
    )


def fingerprint_table(proof: "Proof") -> pd.DataFrame:
    """The layer for images beside torch's, in words: columns property, own, torch, same."""
    from bnviz.subjects.parity.fingerprint import PROPERTIES, in_words

    prints = proof.examinations[-1].fingerprints
    own, torchs = prints[max(prints)]
    rows = [
        (_(label), in_words(name, own[name]), in_words(name, torchs[name]),
         _("✓ same") if own[name] == torchs[name] else _("✗ differs"))
        for name, (label, _experiment) in PROPERTIES.items()
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["property", "own", "torch", "same"])


def case_table(proof: "Proof") -> None:
    """A row for each case; the reader chooses which."""
    frame = proof.frame
    choices = [ALL, DIFFERING, *dict.fromkeys(frame["group"])]
    chosen = st.selectbox(_("Cases"), choices, key="prove_cases", format_func=_)
    rows = filtered(frame, chosen)
    st.dataframe(
        rows.style.apply(lambda marks: [*map(_mark_colour, marks)], subset=["agrees"]),
        hide_index=True,
        column_config={
            "agrees": st.column_config.TextColumn(_("agrees")),
            "layer": st.column_config.TextColumn(_("layer")),
            "name": st.column_config.TextColumn(_("case"), width="large"),
            "output_difference": _number(_("difference of outputs")),
            "gradient_difference": _number(_("difference of gradients")),
            "buffer_difference": _number(_("difference of statistics")),
            "of_tolerance": _number(_("share of the tolerance")),
            "detail": st.column_config.TextColumn(_("why"), width="large"),
        },
    )


def filtered(frame: pd.DataFrame, chosen: str) -> pd.DataFrame:
    """The chosen cases as the table shows them: a mark instead of True, False and missing."""
    if chosen == DIFFERING:
        frame = frame[(frame["agrees"] == False).fillna(False)]  # noqa: E712 (three values)
    elif chosen != ALL:
        frame = frame[frame["group"] == chosen]
    marks = [_("not measured") if pd.isna(v) else _(MARKS[bool(v)]) for v in frame["agrees"]]
    columns = ["layer", "name", "output_difference", "gradient_difference", "buffer_difference",
               "of_tolerance", "detail"]  # fmt: skip
    table = frame[columns].copy()
    table.insert(0, "agrees", marks)
    return table


def _number(label: str):  # type: ignore[no-untyped-def]
    return st.column_config.NumberColumn(label, format="%.2g")


def _mark_colour(mark: str) -> str:
    """Green only for what was measured and agrees."""
    theme = PALETTE[st.context.theme.type or "light"]
    shades = {_(MARKS[True]): theme["right"], _(MARKS[False]): theme["wrong"]}
    return f"color: {shades[mark]}" if mark in shades else ""
