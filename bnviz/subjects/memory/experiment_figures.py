"""The memory experiment as a card and as a line: what to expect, what was measured, how far it is."""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bnviz.app.states import AGAIN_S, state_line
from bnviz.charts.card import Card
from bnviz.charts.formatting import size_words
from bnviz.charts.registry import NotReady, figure
from bnviz.i18n import N_, _, listed, sentences
from bnviz.nn.variants import VARIANTS
from bnviz.selection import Selection
from bnviz.subjects.memory.experiment_runner import lab
from bnviz.subjects.memory.memory_experiment_figures import kept_over_steps
from bnviz.training.run_view import RunView
from bnviz.units import MIB, duration

if TYPE_CHECKING:
    from bnviz.subjects.memory.experiment_config import LeakConfig
    from bnviz.subjects.memory.memory_experiment import Experiment

POINTS = 400
HEIGHT = 560


def cut_name(name: str) -> str:
    """What a cut is called on the page."""
    from bnviz.subjects.memory.interventions import CUTS

    return _(CUTS[name]) if name in CUTS else _("as before")


def measured_frame(experiment: "Experiment") -> pd.DataFrame:
    """The table of an experiment, thinned: columns as `kept_over_steps` takes them."""
    table = experiment.table
    every = max(1, len(table) // POINTS)
    rows = {name: table.column(name, step=every) for name in table.schema.columns}
    frame = pd.DataFrame({name: rows[name] for name in rows if rows[name].ndim == 1})
    frame["process_gained"] = frame["process"] - (table.column("process")[0] if len(table) else 0)
    for number, variant in enumerate(experiment.config.variants):
        for quantity in ("kept_bytes", "graph_nodes"):
            frame[f"{quantity} {variant}"] = rows[quantity][:, number]
    if (cut := _newest_cut(experiment)) is not None:  # which no step has shown yet
        left = {
            "kept_bytes note": cut["kept"],
            "graph_nodes note": cut["nodes"],
            "process_gained": cut["process"] - table.column("process")[0],
        }
        frame = pd.concat([frame, frame.iloc[-1:].assign(**left)], ignore_index=True)
    return frame


def _newest_cut(experiment: "Experiment") -> dict[str, Any] | None:
    """What was tried after the last step, if anything was: its event."""
    events = experiment.events
    return events[-1] if events and events[-1]["step"] == len(experiment.table) > 0 else None


@lru_cache(maxsize=16)
def predicted_frame(config: "LeakConfig") -> pd.DataFrame:
    """What shapes say of the note's layer at each step, thinned: step, kept_bytes, graph_nodes."""
    from bnviz.subjects.memory.expectation import expected

    prediction, steps = expected(config), last_step(config)
    frame = pd.DataFrame({"step": range(1, steps + 1)})
    for column, quantity in (("kept_bytes", "bytes"), ("graph_nodes", "nodes")):
        frame[column] = prediction.curve(steps, config.test_share, quantity)
    shown = [*range(0, steps - 1, max(1, steps // POINTS)), steps - 1]
    return frame.iloc[shown].copy()


@lru_cache(maxsize=16)
def last_step(config: "LeakConfig") -> int:
    """The step at which it ends if nothing is cut: its last one, or where its budget is spent."""
    from bnviz.subjects.memory.expectation import expected

    kept = expected(config).curve(config.steps, config.test_share)
    over = np.flatnonzero(kept > config.budget_mib * MIB)
    return int(over[0]) + 1 if len(over) else config.steps


def moment_of_experiment() -> tuple[Any, ...]:
    """What the experiment was like when it was drawn; empty when it is over or there is none."""
    experiment = lab().experiment
    if experiment is None or experiment.ended:
        return ()
    return (id(experiment), len(experiment.table), experiment.state, len(experiment.events))


@figure(
    "memory/experiment",
    N_("What each layer keeps alive, step by step"),
    moment=moment_of_experiment,
)
def experiment(_run: RunView, _chosen: Selection) -> Card:
    """Prediction and measurement of the experiment that this process runs, or has run last."""
    shown = lab().experiment
    if shown is None:
        raise NotReady("asked", _("No experiment has been run here yet."))
    return experiment_card(shown.config, shown)


def experiment_card(config: "LeakConfig", experiment: "Experiment | None") -> Card:
    """Prediction and measurement over the steps."""
    shown = config if experiment is None else experiment.config
    labels = {variant: _(VARIANTS[variant].label) for variant in shown.variants}
    measured = _nothing(shown) if experiment is None else measured_frame(experiment)
    cuts = [] if experiment is None else [_cut_mark(event) for event in experiment.events]
    return Card(
        key="experiment",
        title=_("What each layer keeps alive, step by step"),
        figure=kept_over_steps(measured, predicted_frame(shown), labels, shown.budget_mib, cuts),
        sentence=_prediction_words(shown) if experiment is None else _measured_words(experiment),
        alt=_("Tensors kept, graph nodes and process memory over the steps"),
        height=HEIGHT,
        asked=f"{shown} {len(cuts)}",
        wide=True,
    )


def _cut_mark(event: dict[str, Any]) -> dict[str, Any]:
    """The step of a cut, with its name and what it freed."""
    name = cut_name(event["name"])
    if event["name"] != "undo":
        name = _("{name} −{freed}").format(name=name, freed=size_words(event["freed"]))
    return {"step": event["step"], "text": name}


def _nothing(config: "LeakConfig") -> pd.DataFrame:
    names = [f"{q} {v}" for q in ("kept_bytes", "graph_nodes") for v in config.variants]
    return pd.DataFrame(
        {
            name: []
            for name in ("step", "process_gained", "device_allocated", "device_reserved", *names)
        }
    )


def _prediction_words(config: "LeakConfig") -> str:
    last = predicted_frame(config).iloc[-1]
    return _(
        "Not measured with these settings: the pale line is what shapes alone predict for the "
        "note's layer, {kept} in {nodes:,.0f} nodes after {steps:,} steps. Press Run to "
        "compare it with a measurement."
    ).format(
        kept=size_words(last["kept_bytes"]), nodes=last["graph_nodes"], steps=int(last["step"])
    )


def _measured_words(experiment: "Experiment") -> str:
    """Measured beside predicted, at the last step before anything was cut, and what is left now."""
    until = min((e["step"] for e in experiment.events), default=len(experiment.table))
    if not until:
        return _(
            "Nothing was measured before the first fix was tried, or the networks are still "
            "being built."
        )
    said = _beside_prediction(experiment, until)
    if until < len(experiment.table) or _newest_cut(experiment) is not None:
        return sentences(said, _left_now(experiment))
    return said


def _beside_prediction(experiment: "Experiment", until: int) -> str:
    """What each layer keeps after `until` steps, the note's beside what shapes predict."""
    from bnviz.subjects.memory.expectation import expected

    config = experiment.config
    kept = experiment.table.column("kept_bytes")[until - 1].tolist()
    by_variant = dict(zip(config.variants, kept, strict=True))
    measured = by_variant.pop("note")
    predicted = int(expected(config).curve(until, config.test_share)[-1])
    off = measured - predicted
    said = (
        _(
            "At step {step:,}, before the first fix, the note's layer keeps {measured}, predicted "
            "were {predicted} ({off:+,} bytes, {percent:.2f}%); the corrected and the built-in "
            "layer keep {others}. The process has grown by {process} since its first step, "
            "including everything else that it does."
        )
        if experiment.events
        else _(
            "At step {step:,} the note's layer keeps {measured}, predicted were {predicted} "
            "({off:+,} bytes, {percent:.2f}%); the corrected and the built-in layer keep {others}. "
            "The process has grown by {process} since its first step, including everything else "
            "that it does."
        )
    )
    return said.format(
        step=until, measured=size_words(measured), predicted=size_words(predicted), off=off,
        percent=100 * abs(off) / max(predicted, 1),
        others=size_words(max(by_variant.values(), default=0)),
        process=_grown(experiment, experiment.table.column("process")[until - 1]),
    )  # fmt: skip


def _left_now(experiment: "Experiment") -> str:
    """What the note's layer keeps now, after the newest cut."""
    table, cut = experiment.table, _newest_cut(experiment)
    place = experiment.config.variants.index("note")
    kept = cut["kept"] if cut else table.column("kept_bytes")[-1][place]
    process = cut["process"] if cut else table.column("process")[-1]
    return _(
        "Now, at step {step:,}, it keeps {kept}, and the process has grown by {process}."
    ).format(step=len(table), kept=size_words(int(kept)), process=_grown(experiment, process))


def _grown(experiment: "Experiment", process: float) -> str:
    """By how much the process has grown since the first step, to so many bytes."""
    return size_words(max(int(process - experiment.table.column("process")[0]), 0))


def config_words(config: "LeakConfig") -> str:
    """An experiment in a few words."""
    return listed(
        (
            _("batch size {batch}").format(batch=config.batch_size),
            _("{share:.0%} test batches in {mode} mode").format(
                share=config.test_share, mode=config.test_mode
            ),
            _("gradients on") if config.grad else _("no_grad"),
            _("graph kept") if config.keep_graph else _("detached"),
        )
    )


@state_line("memory/experiment")
def state_of_experiment() -> dict[str, Any]:
    """How far the experiment of the process is."""
    experiment = lab().experiment
    if experiment is None or experiment.ended:
        ended = "none" if experiment is None else f"ended {id(experiment)}"
        return {"key": ended, "text": "", "progress": None, "again": None}
    words, share = _how_far(experiment)
    key = f"{id(experiment)} {experiment.state} {len(experiment.events)} {share == 1.0}"
    return {"key": key, "text": words, "progress": share, "again": AGAIN_S}


def _how_far(experiment: "Experiment") -> tuple[str, float]:
    """In words, and as a share of the steps."""
    done, steps = len(experiment.table), experiment.config.steps
    measurement = lab().measurement
    left = measurement.seconds_left if measurement is not None else None
    ends = last_step(experiment.config)
    if done == steps:
        words = _("All {steps:,} steps are done.").format(steps=steps)
        return sentences(words, _alive(experiment)), 1.0
    if experiment.state == "paused":
        words = _("Step {done:,} of {steps:,}, paused.").format(done=done, steps=steps)
        return sentences(words, _alive(experiment)), done / steps
    fields = {"done": done, "steps": steps, "ends": ends}
    if done < ends < steps and not experiment.events:
        words = _("Step {done:,} of {steps:,}; the budget is spent at step {ends:,}")
        return words.format(**fields), done / ends
    if left is None:
        return _("Step {done:,} of {steps:,}").format(**fields), done / steps
    words = _("Step {done:,} of {steps:,}, about {left} left")
    return words.format(**fields, left=duration(left)), done / steps


def _alive(experiment: "Experiment") -> str:
    """Whether the note's layer keeps a chain now."""
    if experiment.note_keeps:
        return _("The chain is alive until you end it or leave the page.")
    return _("No chain is kept.")
