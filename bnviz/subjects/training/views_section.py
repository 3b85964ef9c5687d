"""The four views of a run as cards: read, draw, say in one sentence what the figure shows."""

import streamlit as st

from bnviz.app.runs import RunView
from bnviz.app.state import answered_by, layer_control
from bnviz.charts.card import HEIGHT, Card
from bnviz.charts.theme import LAYER_LABELS
from bnviz.config import RunConfig
from bnviz.i18n import _
from bnviz.nn.variants import VARIANTS
from bnviz.records.reading import (
    accuracy_curves,
    loss_curve,
)
from bnviz.records.schema import LAYERS
from bnviz.subjects.training.curves_figures import loss_and_accuracy


@st.fragment
def controls(run: RunView, *, answers: str) -> None:
    """Layer, channels and the look back; `answers` is the key of the fragment with the figures."""
    changed = answered_by(answers)
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        layer_control("layer", "conv1", changed)
        st.multiselect(
            _("Channels"), range(max(LAYERS.values())), default=[0], key="channels",
            bind="query-params", width=220, max_selections=3, on_change=changed,
            help=_("Whose running statistics are shown, up to three. {layers}.").format(
                layers="; ".join(_(label) for label in LAYER_LABELS.values())
            ),
        )  # fmt: skip
        st.slider(
            _("Look back (100% = newest)"), 0, 100, 100, format="%d %%", key="look_back",
            bind="query-params", width=260, on_change=changed,
            help=_("Where in the recorded steps the activations are taken from."),
        )  # fmt: skip


def curves_card(run: RunView) -> Card:
    """Loss and accuracy in both modes."""
    accuracy = accuracy_curves(run.config, run.history)
    losses = {v: loss_curve(run.history, v) for v in run.config.variants}
    parts = []
    for variant, label in run.labels.items():
        rows = accuracy[accuracy["variant"] == variant]
        evaluated, trained = (rows[rows["mode"] == mode].tail(1) for mode in ("eval", "train"))
        if len(evaluated) and len(trained):
            last = evaluated.iloc[0]
            parts.append(
                _("{label}: {eval:.1%} in eval mode, {train:.1%} in train mode").format(
                    label=label, eval=last["accuracy"], train=trained["accuracy"].iloc[0]
                )
            )
    sentence = (
        "; ".join(parts)
        + " "
        + _("on {n:,} test images at step {step:,}.").format(
            n=int(last["images"]), step=int(last["step"])
        )
        if parts
        else _("The first evaluation comes after 20 steps.")
    )
    tests = [e for e in run.history.events if e["kind"] == "note_test"]
    if tests:
        sentence += " " + _("The note prints train_loss {loss:.6f}, acc {accuracy:.6f}.").format(
            **{name: tests[-1][name] for name in ("loss", "accuracy")}
        )
    return Card(
        key="curves",
        title=_("Loss falls, accuracy rises: eval mode ● against train mode ○"),
        figure=loss_and_accuracy(losses, accuracy, run.labels, run.history.events),
        sentence=sentence,
        alt=_("Training loss and test accuracy over the steps, one colour a variant"),
        height=HEIGHT,
    )


def difference_note(config: RunConfig) -> str:
    """Why two right layers part all the same, for runs that show two of them."""
    right = [v for v in config.variants if VARIANTS[v].agrees]
    if len(right) < 2 or config.dtype != "float32":
        return ""
    return _(
        "These layers agree to rounding. Where rounding makes a maximum pooling take another pixel, "
        "the gradient flows elsewhere, and in float32 their curves part: it is no fault of either."
    )
