"""Where two runs part: two sides in lock-step, measured when the reader asks."""

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from bnviz.app.card_grid import board
from bnviz.app.task_panel import Task
from bnviz.charts.card import Card
from bnviz.errors import ConfigError
from bnviz.i18n import N_, _, sentences
from bnviz.nn.variants import VARIANTS
from bnviz.subjects.note.code_section import chosen_setting
from bnviz.subjects.note.divergence_figures import KINDS, difference_over_steps
from bnviz.subjects.note.quirk_settings import (
    ALL,
    NONE,
    QUIRKS,
    QUIRKY,
    TOGETHER,
    side_parts,
    side_words,
)
from bnviz.training.tasks import Key

if TYPE_CHECKING:
    from bnviz.subjects.note.divergence import Parting

PARTING = ("note", "parting")
SWITCHES = "switches"
SIDES = (
    *(variant for variant in VARIANTS if variant != QUIRKY),
    f"{QUIRKY}:{NONE}",
    SWITCHES,
    f"{QUIRKY}:{ALL}",
    *(f"{QUIRKY}:{quirk}" for quirk in (*QUIRKS, *TOGETHER)),
)
KEPT = "kept_sides"
"""Settings of the switches that the reader has kept for a side."""
STEP_CHOICES = (20, 50, 100, 200, 300, 500, 1000)
TOLERANCES = tuple(10.0**k for k in range(-7, 0))
DTYPES = ("float32", "float64")
SECONDS_A_STEP = 0.025
DEFAULTS = {"side_a": "composite", "side_b": "builtin", "lock_steps": 100, "lock_dtype": "float32"}
# A sentence on what the first difference is, by its kind.
SAID = {
    "forward": N_("The layer's output already differs."),
    "gradient": N_("The forward pass still agreed; the backward pass does not."),
    "parameter": N_("The update made it differ."),
    "buffer": N_("Training itself never reads this statistic."),
}


def side_of(choice: str) -> str:
    """The side that a choice stands for."""
    return f"{QUIRKY}:{chosen_setting()}" if choice == SWITCHES else choice


def words_of(choice: str) -> str:
    """A choice of the two selectors in words."""
    if choice == SWITCHES:
        return _("Note's BN with the switches of the view Code")
    return side_words(choice)


def parting_key(first: str, second: str, steps: int, dtype: str) -> Key:
    """Its place among the measurements of the process; it belongs to no run."""
    return (*PARTING, first, second, str(steps), dtype)


def _chosen() -> Key:
    state = {name: st.session_state.get(name, value) for name, value in DEFAULTS.items()}
    return parting_key(
        side_of(state["side_a"]), side_of(state["side_b"]), state["lock_steps"], state["lock_dtype"]
    )


@st.fragment
def parting_section() -> None:
    """Controls, the measurement, where the sides part and how far."""
    tolerance, matters = _controls()
    parting: Parting | None = task_of(*_chosen()[2:]).panel()
    if parting is not None:
        show(parting, tolerance, matters)


def _sides() -> list[str]:
    """All that can be a side: SIDES, and what was kept of the switches, here or in a link."""
    kept = st.session_state.setdefault(KEPT, list(filter(_is_side, st.query_params.get_all(KEPT))))
    return list(dict.fromkeys([*SIDES, *kept]))


def _is_side(side: str) -> bool:
    try:
        side_parts(side)
    except ConfigError:
        return False
    return True


def _keep_switches() -> None:
    side = side_of(SWITCHES)
    _keep(side)
    st.session_state["side_b"] = side


def _keep(side: str) -> None:
    """Make it one of the sides, once, here and in the address."""
    if side not in _sides():
        st.session_state[KEPT] = st.query_params[KEPT] = [*st.session_state[KEPT], side]


def _controls() -> tuple[float, bool]:
    """Both sides, how long and how exactly they are compared, and what counts as a difference."""
    from bnviz.subjects.note.divergence import BATCH, SEED

    _side_controls()
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        tolerance = st.select_slider(
            _("Tolerance"), TOLERANCES, value=1e-3, key="lock_tolerance", bind="query-params",
            width=240, format_func=lambda value: f"{value:.0e}",
            help=_(
                "Largest difference divided by the largest value of the tensor; of a gradient, by the "
                "largest gradient of its layer. Answers at once."
            ),
        )  # fmt: skip
        st.select_slider(
            _("Steps"), STEP_CHOICES, value=DEFAULTS["lock_steps"], key="lock_steps",
            bind="query-params", width=240, help=_(
                "At batch {batch}, seed {seed}; changing this reruns the comparison."
            ).format(batch=BATCH, seed=SEED),
        )  # fmt: skip
        st.segmented_control(
            _("Precision"), DTYPES, default=DEFAULTS["lock_dtype"], required=True, key="lock_dtype",
            bind="query-params", help=_("In float64 rounding is a billion times finer."),
        )  # fmt: skip
    matters = st.toggle(
        _("Ignore differences that BN cancels (biases before BN)"), True, key="lock_matters",
        bind="query-params",
        help=_(
            "A bias before BN only shifts what BN subtracts. Its gradient is rounding alone, "
            "and Adam makes full steps of it: correct networks diverge there first, without "
            "any effect."
        ),
    )  # fmt: skip
    return float(tolerance), matters


def _side_controls() -> None:
    sides = _sides()
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        for name, label in (("side_a", _("Run A")), ("side_b", _("Run B"))):
            st.selectbox(
                label, sides, index=sides.index(str(DEFAULTS[name])), key=name, bind="query-params",
                format_func=words_of, width=300,
                help=_("A kind of layer, or the note's with some of its quirks."),
            )  # fmt: skip
        st.button(
            _("Use the switches of the view Code as run B"), key="keep_switches",
            icon=":material/push_pin:", on_click=_keep_switches,
            help=_("Then change the switches and compare two settings of your own."),
        )  # fmt: skip


def task_of(first: str, second: str, steps: str, dtype: str) -> Task:
    """The comparison of these two sides."""
    from bnviz.subjects.note.divergence import TEST_EVERY, compare_sides

    return Task(
        key=parting_key(first, second, int(steps), dtype),
        measure=lambda progress: compare_sides(first, second, int(steps), progress, dtype=dtype),
        button=_("Compare"),
        again=_("Measure again"),
        expected_s=int(steps) * SECONDS_A_STEP,
        question=_(
            "Not measured yet: both runs take {steps} steps on the same batches from the "
            "same weights, and every tensor is compared. The note's layer also makes a "
            "test pass every {every} steps."
        ).format(steps=steps, every=TEST_EVERY),
        help=_("Nothing of a run is touched."),
        unable=_("Both runs are the same. Choose another for one of them.")
        if first == second
        else "",
        named=_named,
        choose=_choose,
    )


def _named(key: Key) -> str:
    first, second, steps, dtype = key[2:]
    return _("{a} and {b}, {steps} steps, {dtype}").format(
        a=side_words(first), b=side_words(second), steps=steps, dtype=dtype
    )


def _choose(key: Key) -> None:
    """Move the controls to those of a comparison; sides set by the switches are kept for it."""
    first, second, steps, dtype = key[2:]
    _keep(first)
    _keep(second)
    st.session_state.update(side_a=first, side_b=second, lock_steps=int(steps), lock_dtype=dtype)


def show(parting: "Parting", tolerance: float, matters: bool) -> None:
    """The sentence, the figure, and the first difference of each kind."""
    from bnviz.subjects.note.divergence import first_apart, largest_by_step, that_matters

    frame = that_matters(parting.frame) if matters else parting.frame
    first = first_apart(frame, tolerance)
    st.markdown(sentence(parting, first, tolerance))
    board(
        [parting_card(parting, largest_by_step(frame), first, tolerance)],
        key="parting_board", revision=f"{parting.sides} {parting.steps} {parting.dtype}",
    )  # fmt: skip
    st.dataframe(
        firsts(frame, tolerance),
        hide_index=True,
        column_config={
            "kind": st.column_config.TextColumn(_("kind")),
            "step": st.column_config.NumberColumn(_("first above at step"), format="%d"),
            "place": st.column_config.TextColumn(_("layer, tensor")),
            "difference": st.column_config.NumberColumn(_("difference then"), format="%.2g"),
            "largest": st.column_config.NumberColumn(_("largest of all steps"), format="%.2g"),
        },
    )


def sentence(parting: "Parting", first: "pd.Series | None", tolerance: float) -> str:
    """Where they part, or that they do not, and whether they began alike."""
    names = [side_words(side) for side in parting.sides]
    said = (
        _("**{a}** and **{b}** stay within {tolerance:.0e} of each other in all {steps} steps.")
        if first is None
        else _(
            "**{a}** and **{b}** first differ by more than {tolerance:.0e} **at step {step}: {kind}, "
            "{layer}, {tensor}**, by {difference:.2g} of its size."
        )
    )  # fmt: skip
    text = said.format(
        a=names[0], b=names[1], tolerance=tolerance, steps=parting.steps,
        **({} if first is None else _details(first)),
    )  # fmt: skip
    if first is not None:
        text = sentences(
            text,
            _why(first),
            _(
                "It is the first in the order of computing; the figure shows the largest difference "
                "at each step."
            ),
        )
    unlike = parting.start[parting.start["difference"] > 0]
    if len(unlike):
        begin = ", ".join(dict.fromkeys(f"{r.layer} {r.tensor}" for r in unlike.itertuples()))
        text = sentences(text, _("They do not start alike: {tensors}.").format(tensors=begin))
    return text


def _why(first: pd.Series) -> str:
    """What the first difference is, by its kind."""
    before_bn = first["tensor"] == "bias" and first["layer"] in ("conv1", "conv2", "fc1", "fc2")
    if before_bn and first["kind"] == "parameter":
        return _("This is a bias before BN: its gradient is rounding alone, and BN cancels it.")
    return _(SAID[first["kind"]])


def _details(first: pd.Series) -> dict[str, object]:
    return {
        "step": int(first["step"]), "kind": _(KINDS[first["kind"]][0]), "layer": first["layer"],
        "tensor": first["tensor"], "difference": first["difference"],
    }  # fmt: skip


def firsts(frame: pd.DataFrame, tolerance: float) -> pd.DataFrame:
    """For each kind the first difference above the tolerance (empty if none) and the largest."""
    from bnviz.subjects.note.divergence import first_apart

    rows = []
    for kind, (name, _shade, _dash) in KINDS.items():
        own = frame[frame["kind"] == kind]
        if not len(own):
            continue
        first, place = first_apart(own, tolerance), (None, "", None)
        if first is not None:
            place = (first["step"], f"{first['layer']}, {first['tensor']}", first["difference"])
        rows.append((_(name), *place, own["difference"].max()))
    return pd.DataFrame(rows, columns=["kind", "step", "place", "difference", "largest"])


def parting_card(
    parting: "Parting", largest: pd.DataFrame, first: "pd.Series | None", tolerance: float
) -> Card:
    """How far apart the sides are, step by step."""
    worst = largest.iloc[int(largest["difference"].to_numpy().argmax())]
    return Card(
        key="parting",
        title=(
            _("The two runs do not diverge")
            if first is None
            else _("They first differ at step {step}").format(step=int(first["step"]))
        ),
        figure=difference_over_steps(
            largest, tolerance, None if first is None else int(first["step"])
        ),
        sentence=_(
            "In {dtype}, largest difference of all {steps} steps: {worst:.2g}, in {kind} of {layer} "
            "({tensor}) at step {step}. The same bits are drawn at the lower edge."
        ).format(
            dtype=parting.dtype, steps=parting.steps, worst=worst["difference"],
            kind=_(KINDS[worst["kind"]][0]), layer=worst["layer"], tensor=worst["tensor"],
            step=int(worst["step"]),
        ),
        alt=_(
            "Largest relative difference of the two runs at each step, by kind of tensor"
        ),
        height=380,
        asked=f"{tolerance}",
        wide=True,
    )  # fmt: skip
