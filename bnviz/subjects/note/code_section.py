"""The note's layer and loop beside ours: each quirk with its lines, and a switch."""

from dataclasses import dataclass
from importlib import import_module

import streamlit as st

from bnviz.app import router
from bnviz.app.code_snippets import code_of, lines_of
from bnviz.app.rerun_button import train_again
from bnviz.config import RunConfig
from bnviz.i18n import N_, _
from bnviz.subjects.note.quirk_settings import (
    ALL,
    LABELS,
    NONE,
    QUIRKS,
    config_of,
    on_in,
    setting_of,
    words,
)

NOTE, STEPS, OBSERVERS = "bnviz.nn.note", "bnviz.training.steps", "bnviz.training.observers"
COMPOSITE, BASE, PASSES = "bnviz.nn.batchnorm", "bnviz.nn.base", "bnviz.evaluation.inference"
HISTORY, BEFORE = "quirk_history", "quirks_before"


@dataclass(frozen=True)
class Code:
    """Lines of a module, named by how they begin; those in `marked` are what differs."""

    module: str
    starts: tuple[str, ...]
    marked: tuple[int, ...] = (0,)

    def text(self, sign: str) -> str:
        """The lines, with `sign` before those that differ."""
        lines = lines_of(import_module(self.module), *self.starts).text.splitlines()
        return "\n".join(
            f"{sign if k in self.marked else ' '} {line}" for k, line in enumerate(lines)
        )

    def place(self) -> str:
        """File and line of the first."""
        return lines_of(import_module(self.module), *self.starts).place


@dataclass(frozen=True)
class Row:
    """A quirk in plain words, the note's lines and the right ones."""

    words: str
    note: Code
    ours: Code


LAYER_ROWS: dict[str, Row] = {
    "keep_graph": Row(
        N_(
            "The running mean is assigned from tensors that still have their graph, so it drags the "
            "graph of every batch along."
        ),
        Code(NOTE, ("if not self.keep_graph:", "mean, var = mean.detach(), var.detach()", "self.running_mean = self.momentum * mean"), (0, 2)),
        Code(COMPOSITE, ("self._finish(mean.detach()",)),
    ),
    "zero_running_var": Row(
        N_("The running variance starts at 0: eval mode before training divides by √eps, which makes values 316 times as large."),
        Code(NOTE, ('for name, value in (("running_mean", 0.0)',)),
        Code(BASE, ('for name, start in (("running_mean", 0)',)),
    ),
    "conv_shift_one": Row(
        N_("β starts at 1 in the convolutions and at 0 in the fully connected layers."),
        Code(NOTE, ("shift = 1.0 if conv_shift_one",)),
        Code(BASE, ("nn.init.zeros_(self.bias)",)),
    ),
    "plain_attributes": Row(
        N_("The statistics are attributes: `state_dict` forgets them and `.to()` leaves them behind."),
        Code(NOTE, ("setattr(self, name, filled(value))",)),
        Code(BASE, ('self.register_buffer("running_mean"', 'self.register_buffer("running_var"'), (0, 1)),
    ),
    "biased_running_var": Row(
        N_("The variance that is averaged divides by n, torch's by n − 1: 16/15 at batch 16 in a fully connected layer."),
        Code(NOTE, ("if not self.biased_running_var:", "var = var * (count / max(count - 1, 1))", "self.running_var = self.momentum * var"), (0, 2)),
        Code(BASE, ("unbiased = var * (count / (count - 1))", "old_var.lerp_(unbiased"), (0, 1)),
    ),
    "chained_mean": Row(
        N_("Means are taken one dimension after the other: the same number but for rounding, in a convolution three nodes instead of one."),
        Code(NOTE, ("for dim in dims:", "x = x.mean(dim, keepdim=True)"), (0, 1)),
        Code(COMPOSITE, ("mean = wide.mean(dims, keepdim=True)",)),
    ),
    "momentum_of_new": Row(
        N_("0.9 is the weight of the new batch. The note's own text weighs the old value with it."),
        Code(NOTE, ("momentum: float = 0.9", "self.running_mean = self.momentum * mean")),
        Code(BASE, ("momentum: float | None = 0.1", "old_mean.lerp_(mean")),
    ),
}  # fmt: skip
LOOP_ROWS: dict[str, Row] = {
    "test_in_train_mode": Row(
        N_("`test()` never calls `eval()`: each test image is normalized by its neighbours."),
        Code(STEPS, ("model.train(quirks.test_in_train_mode)",)),
        Code(PASSES, ('model.train(mode == "train")',)),
    ),
    "test_moves_statistics": Row(
        N_("In train mode a test pass also overwrites the running statistics, with the test images'."),
        Code(STEPS, ("nullcontext() if quirks.test_moves_statistics",)),
        Code(PASSES, ("with restored(model):",)),
    ),
    "test_with_grad": Row(
        N_("`test()` has no `no_grad()`: each test batch builds a graph that no backward ever frees."),
        Code(STEPS, ("torch.set_grad_enabled(quirks.test_with_grad)",)),
        Code(PASSES, ("@torch.no_grad()", "def forward("), (0,)),
    ),
    "loss_divided_twice": Row(
        N_("The printed loss divides by the batch size what is a mean over the batch already."),
        Code(OBSERVERS, ("divided = config.quirks.loss_divided_twice", "return float(losses.mean()) /"), (1,)),
        Code(PASSES, ("F.cross_entropy(logits.float(), labels).item()",)),
    ),
    "accuracy_over_full_batches": Row(
        N_("The printed accuracy divides by batches times batch size, also when the last is smaller."),
        Code(STEPS, ("divisor = tested * batch_size if",)),
        Code(PASSES, ("(logits.argmax(1) == labels).float().mean().item()",)),
    ),
}  # fmt: skip
ROWS = {**LAYER_ROWS, **LOOP_ROWS}
# What an expander shows whole: functions of the note's way, functions of ours.
Whole = tuple[tuple[str, tuple[str, ...]], ...]
WHOLE: dict[str, tuple[Whole, Whole]] = {
    "layer": (
        (
            (NOTE, ("NoteBatchNorm.__init__", "NoteBatchNorm.forward")),
            (NOTE, ("NoteBatchNorm._mean", "NoteBatchNorm._average_in")),
        ),
        (
            (BASE, ("BatchNormBase.__init__", "BatchNormBase.reset_running_stats")),
            (BASE, ("BatchNormBase.reset_parameters",)),
            (COMPOSITE, ("_WrittenOut.forward",)),
            (BASE, ("BatchNormBase._finish",)),
        ),
    ),
    "loop": (
        ((STEPS, ("note_test",)), (OBSERVERS, ("Evaluator._printed_loss",))),
        ((PASSES, ("forward", "with_statistics", "evaluate")),),
    ),
}


def key_of(quirk: str) -> str:
    """The session key of a switch."""
    return f"quirk_{quirk}"


def keep_switches() -> None:
    """The switches stay as they are in a view that does not show them."""
    for key in map(key_of, QUIRKS):
        linked = st.query_params.get(key)
        if key in st.session_state:
            st.session_state[key] = st.session_state[key]
        elif linked in ("true", "false"):
            st.session_state[key] = linked == "true"


def chosen_setting() -> str:
    """The quirks whose switches are on, as a setting."""
    return setting_of(q for q in QUIRKS if st.session_state.get(key_of(q), True))


def code_section() -> None:
    """All quirks, their code and their switches, and what can be done with these."""
    buttons = st.container()
    st.caption(
        _(
            "The lines are read from bnviz's own files. Its layer for the note has each quirk as a "
            "switch, so its lines are the branch that the switch takes: `keep_graph` on skips the "
            "`detach()`, `test_in_train_mode` on leaves the network in train mode."
        )
    )
    for part, title, rows in (
        ("layer", _("In the layer"), LAYER_ROWS),
        ("loop", _("In the loop"), LOOP_ROWS),
    ):
        st.markdown(f"**{title}**")
        with st.container(horizontal=True, gap="medium"):
            for quirk in rows:
                _switch(quirk)
        _show_whole(part)
    quirk = st.selectbox(
        _("Code of"), list(ROWS), key="quirk_shown", bind="query-params", width=420,
        format_func=lambda name: _(LABELS[name]), help=_("Which quirk's lines stand below."),
    )  # fmt: skip
    _show(ROWS[quirk])
    setting = st.session_state[BEFORE] = chosen_setting()  # known once the switches are there
    with buttons:
        _buttons(setting)
    st.markdown(_("With these switches: {words}.").format(words=words(setting)))
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        train_again(run_of(setting), key="train_quirks", label=_("Train with these switches"))
        st.page_link(
            router.page("train"), label=_("Watch runs on Train"), icon=":material/monitoring:"
        )


def run_of(setting: str) -> RunConfig:
    """A run of the note's layer with those quirks beside torch's, tested every 250 steps."""
    return config_of(setting, variants=("note", "builtin"), epochs=1, eval_every=250)


def _switch(quirk: str) -> None:
    st.toggle(
        _(LABELS[quirk]), value=True, key=key_of(quirk), bind="query-params",
        on_change=_remember, help=_("On is what the note wrote, off is the right way."),
    )  # fmt: skip


def _show(row: Row) -> None:
    """What a quirk is, with its lines and the right ones side by side."""
    st.markdown(_(row.words))
    left, right = st.columns(2, gap="small")
    for place, code, sign, whose in (
        (left, row.note, "-", _("the note's way, taken while the switch is on: {place}")),
        (right, row.ours, "+", _("the right way: {place}")),
    ):
        with place:
            st.caption(whose.format(place=code.place()))
            st.code(code.text(sign), language="python", wrap_lines=True)


def whole(part: str, side: int, sign: str) -> str:
    """The code of ``layer`` or ``loop``, the note's way (0) or ours (1), differing lines marked."""
    rows = LAYER_ROWS if part == "layer" else LOOP_ROWS
    codes = [(row.note, row.ours)[side] for row in rows.values()]
    return "\n\n".join(
        code_of(
            import_module(module), names,
            tuple(c.starts[k] for c in codes if c.module == module for k in c.marked), sign,
        )
        for module, names in WHOLE[part][side]
    )  # fmt: skip


def _show_whole(part: str) -> None:
    label = (
        _("The whole layer, both ways")
        if part == "layer"
        else _("The whole test and what it prints, both ways")
    )
    with st.expander(label):
        for side, (place, sign) in enumerate(zip(st.columns(2, gap="small"), "-+", strict=True)):
            with place:
                st.caption(_("the note's way") if side == 0 else _("the right way"))
                st.code(whole(part, side, sign), language="python", wrap_lines=True)


def _buttons(now: str) -> None:
    with st.container(horizontal=True, gap="small"):
        for label, setting, icon in (
            (_("All on, as in the note"), ALL, ":material/toggle_on:"),
            (_("All off"), NONE, ":material/toggle_off:"),
        ):
            st.button(
                label, key=f"quirks_{setting}", icon=icon, on_click=_set, args=(setting,),
                disabled=now == setting,
                help=_("Sets all {n} switches; Undo restores the others.").format(n=len(QUIRKS)),
            )  # fmt: skip
        st.button(
            _("Undo"), key="quirks_undo", icon=":material/undo:", on_click=_undo,
            disabled=not st.session_state.get(HISTORY), help=_("Takes back the last change."),
        )  # fmt: skip


def _remember() -> None:
    """Keep what the switches were before the change."""
    st.session_state.setdefault(HISTORY, []).append(st.session_state.get(BEFORE, ALL))


def _set(setting: str) -> None:
    _remember()
    _apply(setting)


def _undo() -> None:
    if st.session_state.get(HISTORY):
        _apply(st.session_state[HISTORY].pop())


def _apply(setting: str) -> None:
    on = on_in(setting)
    for quirk in QUIRKS:
        st.session_state[key_of(quirk)] = quirk in on
