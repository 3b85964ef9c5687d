"""Loss and accuracy over the steps."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from bnviz.charts.card import HEIGHT, Card
from bnviz.charts.marks import Figure, drawing, event_marks, scatter, stacked
from bnviz.charts.registry import figure
from bnviz.charts.theme import DASH, axis, colour, hover
from bnviz.config import EARLY_EVALUATIONS
from bnviz.i18n import N_, _, lines, listed, sentences
from bnviz.records.reading import accuracy_curves, loss_curve
from bnviz.records.schema import MODES
from bnviz.selection import Selection
from bnviz.training.run_view import RunView

LOSS, ACCURACY = 0, 1  # the panels
LARGEST_ERROR = 0.5
"""Standard error of an accuracy of one half, times the root of the number of images: no other is larger."""


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
    filled = {"fill": "tonexty", "fillcolor": colour(variant, 0.12)}
    edges: tuple[tuple[str, dict[str, Any], str], ...] = (
        ("high", {}, _("{label}, highest of a stretch")),
        ("low", filled, _("{label}, lowest of a stretch")),
    )
    return [
        *(
            scatter(LOSS, frame["step"], frame[of], meta={"series": n.format(label=label)}, **fill, **edge)
            for of, fill, n in edges
        ),
        scatter(
            LOSS, frame["step"], frame["mean"], mode="lines", name=label, legendgroup=variant,
            line={"color": colour(variant), "dash": DASH[variant], "width": 2},
            hovertemplate=hover("step", "loss"),
        ),
    ]  # fmt: skip


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
                showlegend=mode == "note",
                customdata=of_mode["images"].astype("int32").tolist(),
                hovertemplate=lines(hover("step", "accuracy"), _("on %{customdata} test images")),
            )
        )
    return traces


@figure("training/curves", N_("Loss and accuracy, train mode and eval mode"))
def curves(run: RunView, _chosen: Selection) -> Card:
    """Loss and accuracy in both modes."""
    accuracy = accuracy_curves(run.config, run.history)
    losses = {v: loss_curve(run.history, v) for v in run.config.variants}
    return Card(
        key="curves",
        title=(
            _("Loss falls, accuracy rises: eval mode ● against train mode ○")
            if _learns(losses, accuracy)
            else _("Loss and accuracy: eval mode ● against train mode ○")
        ),
        figure=loss_and_accuracy(losses, accuracy, run.labels, run.history.events),
        sentence=sentences(
            _latest_accuracies(run, accuracy), _moved_by_own_test(run, accuracy), _as_printed(run)
        ),
        alt=_("Training loss and test accuracy over the steps, one colour a variant"),
        height=HEIGHT,
    )


def _learns(losses: Mapping[str, pd.DataFrame], accuracy: pd.DataFrame) -> bool:
    """Whether the loss of each variant has fallen, and its accuracy in eval mode has risen."""
    evaluated = accuracy[accuracy["mode"] == "eval"].groupby("variant", observed=True)["accuracy"]
    falls = [len(f) > 1 and f["mean"].iloc[-1] < f["mean"].iloc[0] for f in losses.values()]
    return all(falls) and bool((evaluated.last() > evaluated.first()).all())


def _latest_accuracies(run: RunView, accuracy: pd.DataFrame) -> str:
    """The last evaluation of each variant, in one sentence for those of the same step and images."""
    found: dict[tuple[int, int], list[str]] = {}
    for variant, label in run.labels.items():
        # The newest two evaluations are enough, however long the run is.
        rows = accuracy[accuracy["variant"] == variant].tail(2 * len(MODES))
        for _place, at in reversed(list(rows.groupby(["step", "images"]))):
            by_mode = at.drop_duplicates("mode", keep="last").set_index("mode")["accuracy"]
            if {"eval", "train"} <= set(by_mode.index):
                said = _("{label}: {eval:.1%} in eval mode, {train:.1%} in train mode").format(
                    label=label, eval=by_mode["eval"], train=by_mode["train"]
                )
                found.setdefault((at["step"].iloc[0], at["images"].iloc[0]), []).append(said)
                break
    if not found:
        return _("The first evaluation comes after {first} steps.").format(
            first=EARLY_EVALUATIONS[0]
        )
    return sentences(
        *(
            _("On {n:,} test images (± {error:.1%}) at step {step:,}: {accuracies}.").format(
                n=images, error=LARGEST_ERROR / images**0.5, step=step, accuracies=listed(said)
            )
            for (step, images), said in found.items()
        )
    )


def _moved_by_own_test(run: RunView, accuracy: pd.DataFrame) -> str:
    """Two evaluations at one step, between which the note's own test moved its statistics."""
    rows = accuracy[(accuracy["variant"] == "note") & (accuracy["mode"] == "eval")]
    if not len(rows):
        return ""
    last = rows[rows["step"] == rows["step"].iloc[-1]]
    tested = {event["step"] for event in run.history.events if event["kind"] == "note_test"}
    step = int(last["step"].iloc[0])
    if len(last) < 2 or step not in tested:
        return ""
    return _(
        "{label} has two points at step {step:,}: {before:.1%} on {n:,} images before its own test, "
        "which overwrites the running statistics with those of test images, and {after:.1%} after."
    ).format(
        label=run.labels["note"], step=step, n=int(last["images"].iloc[0]),
        before=last["accuracy"].iloc[0], after=last["accuracy"].iloc[-1],
    )  # fmt: skip


def _as_printed(run: RunView) -> str:
    """What the note's last test printed."""
    tests = [event for event in run.history.events if event["kind"] == "note_test"]
    if not tests:
        return ""
    return _("The note prints train_loss {loss:.6f}, acc {accuracy:.6f}.").format(
        loss=tests[-1]["loss"], accuracy=tests[-1]["accuracy"]
    )
