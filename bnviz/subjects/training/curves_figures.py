"""Loss and accuracy over the steps."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from bnviz.charts.card import HEIGHT, Card
from bnviz.charts.marks import Figure, drawing, event_marks, scatter, stacked
from bnviz.charts.registry import figure
from bnviz.charts.theme import DASH, axis, colour, hover
from bnviz.config import EARLY_EVALUATIONS
from bnviz.i18n import N_, _, listed, sentences
from bnviz.records.reading import accuracy_curves, loss_curve
from bnviz.selection import Selection
from bnviz.training.run_view import RunView

LOSS, ACCURACY = 0, 1  # the panels


def loss_and_accuracy(
    losses: Mapping[str, pd.DataFrame],
    accuracy: pd.DataFrame,
    labels: Mapping[str, str],
    events: Sequence[Mapping[str, Any]],
) -> Figure:
    """Loss above, accuracy in both modes below, all variants.

    `losses`: per variant the columns step, mean, low, high (nats). `accuracy`: columns step,
    variant, mode, accuracy (0 to 1). Filled markers are eval mode, open ones train mode.
    """
    data: list[dict[str, Any]] = []
    for variant, frame in losses.items():
        data += _band(variant, frame, labels[variant])
        data += _modes(variant, accuracy[accuracy["variant"] == variant], labels[variant])
    layout = stacked(
        [axis("loss", rangemode="tozero"), axis("accuracy", range=[0, 100], dtick=25)],
        axis("step", rangemode="tozero"),
    )
    return drawing(data, {**layout, **event_marks(events)})


def _band(variant: str, frame: pd.DataFrame, label: str) -> list[dict[str, Any]]:
    """The mean of each stretch of steps, with the range of its losses behind."""
    edge = {
        "mode": "lines",
        "line": {"width": 0},
        "legendgroup": variant,
        "hoverinfo": "skip",
        "showlegend": False,
    }
    return [
        scatter(LOSS, frame["step"], frame["high"], **edge),
        scatter(
            LOSS,
            frame["step"],
            frame["low"],
            fill="tonexty",
            fillcolor=colour(variant, 0.12),
            **edge,
        ),
        scatter(
            LOSS,
            frame["step"],
            frame["mean"],
            mode="lines",
            line={"color": colour(variant), "dash": DASH[variant], "width": 2},
            name=label,
            legendgroup=variant,
            hovertemplate=hover("step", "loss"),
        ),
    ]


def _modes(variant: str, rows: pd.DataFrame, label: str) -> list[dict[str, Any]]:
    """Accuracy in each mode that was evaluated."""
    styles = {
        "eval": (_("eval mode"), "circle", 1.0, "solid", 2),
        "train": (_("train mode"), "circle-open", 0.55, "dot", 1.5),
        "note": (_("the note's own test"), "x", 0.55, "dot", 1.5),
    }
    traces = []
    for mode, (name, symbol, opacity, dash, width) in styles.items():
        of_mode = rows[rows["mode"] == mode]
        if of_mode.empty:
            continue
        traces.append(
            scatter(
                ACCURACY,
                of_mode["step"],
                100 * of_mode["accuracy"],
                mode="lines+markers",
                line={"color": colour(variant, opacity), "dash": dash, "width": width},
                marker={"symbol": symbol, "size": 8, "color": colour(variant)},
                name=f"{label}, {name}",
                legendgroup=variant,
                showlegend=False,
                hovertemplate=hover("step", "accuracy"),
            )
        )
    return traces


@figure("training/curves", N_("Loss and accuracy, train mode and eval mode"))
def curves(run: RunView, _chosen: Selection) -> Card:
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
        _("On {n:,} test images at step {step:,}: {accuracies}.").format(
            n=int(last["images"]), step=int(last["step"]), accuracies=listed(parts)
        )
        if parts
        else _("The first evaluation comes after {first} steps.").format(first=EARLY_EVALUATIONS[0])
    )
    tests = [e for e in run.history.events if e["kind"] == "note_test"]
    if tests:
        printed = {name: tests[-1][name] for name in ("loss", "accuracy")}
        sentence = sentences(
            sentence,
            _("The note prints train_loss {loss:.6f}, acc {accuracy:.6f}.").format(**printed),
        )
    return Card(
        key="curves",
        title=_("Loss falls, accuracy rises: eval mode ● against train mode ○"),
        figure=loss_and_accuracy(losses, accuracy, run.labels, run.history.events),
        sentence=sentence,
        alt=_("Training loss and test accuracy over the steps, one colour a variant"),
        height=HEIGHT,
    )
