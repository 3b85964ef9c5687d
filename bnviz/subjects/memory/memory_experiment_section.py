"""The memory experiment on its page: what to expect, what happens, what cuts the chain."""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import streamlit as st

from bnviz.app.card_grid import board
from bnviz.app.state import redraw
from bnviz.census.memory_limits import total_memory
from bnviz.charts.card import Card
from bnviz.charts.formatting import size_words
from bnviz.i18n import _
from bnviz.nn.variants import VARIANTS
from bnviz.subjects.memory.interventions_section import (
    FRAGMENTS,
    cut_buttons,
    cut_name,
    cuts_card,
    refused,
    refusing,
)
from bnviz.subjects.memory.memory_experiment_figures import kept_over_steps
from bnviz.subjects.memory.sections import lab
from bnviz.units import MIB

if TYPE_CHECKING:
    from bnviz.subjects.memory.experiment_config import LeakConfig
    from bnviz.subjects.memory.memory_experiment import Experiment

GB = 10**9
BATCH_SIZES = (2, 4, 8, 16, 32, 64, 128, 256, 512)
MEMORIES = ("machine", "2", "4", "8", "16", "24")
POINTS = 400
HEIGHT = 560


def chosen() -> "LeakConfig":
    """The controls as a LeakConfig. Raises ConfigError as `LeakConfig.parse`."""
    from bnviz.subjects.memory.experiment_config import LeakConfig

    state = st.session_state
    return LeakConfig.parse(
        keep_graph=state["mem_keep"], test_mode=state["mem_mode"], grad=state["mem_grad"],
        batch_size=state["mem_batch"], test_share=state["mem_share"] / 100,
        steps=state["mem_steps"], budget_mib=state["mem_budget"],
    )  # fmt: skip


def controls() -> None:
    """Switches of the loop, sizes, budget."""
    from bnviz.subjects.memory.experiment_config import LeakConfig

    default = LeakConfig()
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        st.toggle(
            _("Statistics keep their graph"), default.keep_graph, key="mem_keep",
            bind="query-params", on_change=redraw, args=(FRAGMENTS,),
            help=_("As the note wrote it: running_mean = … without detach()."),
        )  # fmt: skip
        st.toggle(
            _("Gradients on in the test"),
            default.grad,
            key="mem_grad",
            bind="query-params",
            on_change=redraw,
            args=(FRAGMENTS,),
            help=_("Off: test batches run under torch.no_grad()."),
        )
    st.segmented_control(
        _("Test batches run in"), ["train", "eval"], default=default.test_mode, required=True,
        key="mem_mode", bind="query-params", on_change=redraw, args=(FRAGMENTS,),
        format_func=lambda mode: _("train mode") if mode == "train" else _("eval mode"),
        help=_("The note's test() never calls eval(), so its test batches run in train mode."),
    )  # fmt: skip
    left, right = st.columns(2, gap="medium")
    left.select_slider(
        _("Batch size"), BATCH_SIZES, value=default.batch_size, key="mem_batch",
        bind="query-params", on_change=redraw, args=(FRAGMENTS,),
        help=_("What a test batch keeps is proportional to it."),
    )  # fmt: skip
    right.slider(
        _("Share of test batches (%)"), 0, 100, round(100 * default.test_share), 5,
        key="mem_share", bind="query-params", on_change=redraw, args=(FRAGMENTS,),
        help=_("The other steps train: forward, backward, update."),
    )  # fmt: skip
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        st.number_input(
            _("Steps"), 1, 1_000_000, default.steps, 100, key="mem_steps", bind="query-params",
            width=140, on_change=redraw, args=(FRAGMENTS,),
            help=_("Afterwards the chain is kept for a while, to look at and to cut."),
        )  # fmt: skip
        st.number_input(
            _("Budget (MiB)"), 1, 1_000_000, default.budget_mib, 128, key="mem_budget",
            bind="query-params", width=140, on_change=redraw, args=(FRAGMENTS,),
            help=_("When tensors of this size are kept, the experiment stops and frees them."),
        )  # fmt: skip
        st.selectbox(
            _("When is this memory full?"), MEMORIES, key="mem_memory", bind="query-params",
            width=220, format_func=_memory_words,
            help=_("Prediction only: nothing of that size is allocated."),
        )  # fmt: skip


def _memory_words(name: str) -> str:
    if name == "machine":
        return _("this machine's, {gb:.0f} GB").format(gb=total_memory() / GB)
    return _("{gb} GB").format(gb=name)


def prediction_metrics(config: "LeakConfig") -> None:
    """What shapes alone say, before anything runs."""
    from bnviz.subjects.memory.experiment_config import expected

    prediction, name = expected(config), st.session_state["mem_memory"]
    memory = total_memory() if name == "machine" else int(name) * GB
    batch, full = prediction.bytes["test"], prediction.full_at(memory, config.test_share)
    entries = (
        (_("Kept by a test batch"), size_words(batch), _("Predicted: {size:,} bytes, {input:,} of them the images themselves, which the first layer saves.")
            .format(size=batch, input=prediction.input_bytes if batch else 0)),
        (_("Kept by each image"), size_words(batch / config.batch_size), _("Predicted, in a test batch.")),
        (_("One pass over 10,000 test images"), size_words(batch / config.batch_size * 10_000), _("Predicted, if each batch stays.")),
        (_("Kept by a training step"), size_words(prediction.bytes["train"]), _("Predicted: backward frees what the nodes had saved; {n} empty nodes stay.").format(n=prediction.nodes["train"])),
        (_("Tensors alone fill it at step"), "–" if full is None else f"{full:,}",
            _("Predicted for the memory chosen above, these switches and this share of test batches. The process takes more than its tensors, so it is full earlier: see below why.")),
    )  # fmt: skip
    with st.container(horizontal=True, gap="small"):
        for label, value, help_text in entries:
            st.metric(label, value, border=True, help=help_text)


def commands() -> None:
    """Run, pause, go on, end; how far it is, and why it ended."""
    experiment, going_on = lab().experiment, lab().going_on
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        st.button(
            _("Run"), type="primary", icon=":material/play_arrow:", key="mem_run", on_click=_start,
            disabled=going_on, help=_("Real steps of three networks, in the background."),
        )  # fmt: skip
        paused = experiment is not None and experiment.state == "paused"
        done = experiment is not None and len(experiment.table) == experiment.config.steps
        st.button(
            _("Go on") if paused else _("Pause"), key="mem_pause", disabled=done or not going_on,
            icon=":material/play_arrow:" if paused else ":material/pause:",
            on_click=_pause, args=(not paused,),
            help=_("The chain stays alive meanwhile."),
        )  # fmt: skip
        st.button(
            _("End"), key="mem_end", icon=":material/stop:", disabled=not going_on,
            on_click=_end,
            help=_("Ends it and frees everything that it holds."),
        )  # fmt: skip
    if words := refused():
        st.error(words, icon=":material/error:")
    measurement = lab().measurement
    if measurement is not None and measurement.error:
        st.error(measurement.error, icon=":material/error:")
    if experiment is not None:
        _how_far(experiment)


def _start() -> None:
    """With the controls as they are now, not as they were when the button was drawn."""
    with refusing():
        lab().start(chosen())


def _pause(paused: bool) -> None:
    if (experiment := lab().experiment) is not None:
        experiment.pause(paused)
        redraw(FRAGMENTS)


def _end() -> None:
    if (experiment := lab().experiment) is not None:
        experiment.stop()


def _how_far(experiment: "Experiment") -> None:
    done, steps = len(experiment.table), experiment.config.steps
    if experiment.ended:
        st.caption(_("The last experiment ({words}) ended after {done:,} steps. {reason}").format(
            words=config_words(experiment.config), done=done, reason=experiment.reason))  # fmt: skip
        return
    measurement = lab().measurement
    left = measurement.seconds_left if measurement is not None else None
    ends = last_step(experiment.config)
    words = _("Step {done:,} of {steps:,}").format(done=done, steps=steps)
    if done < ends < steps and not experiment.events:
        words = _("{words}; the budget is spent at step {ends:,}").format(words=words, ends=ends)
        left = None if left is None else left * (ends - done) / (steps - done)
        steps = ends
    if done == experiment.config.steps:
        words = _("All {steps:,} steps are done; {alive}").format(
            steps=steps, alive=_alive(experiment)
        )
    elif experiment.state == "paused":
        words = _("{words}, paused; {alive}").format(words=words, alive=_alive(experiment))
    elif left is not None:
        words = _("{words}, about {s:.0f} s left").format(words=words, s=left)
    st.progress(min(done / steps, 1.0), text=words)


def _alive(experiment: "Experiment") -> str:
    """Whether the note's layer keeps a chain now."""
    if experiment.note_keeps:
        return _("the chain is alive until you end it or leave the page")
    return _("no chain is kept")


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
    from bnviz.subjects.memory.experiment_config import expected

    prediction, steps = expected(config), last_step(config)
    frame = pd.DataFrame({"step": range(1, steps + 1)})
    for column, quantity in (("kept_bytes", "bytes"), ("graph_nodes", "nodes")):
        frame[column] = prediction.curve(steps, config.test_share, quantity)
    shown = [*range(0, steps - 1, max(1, steps // POINTS)), steps - 1]
    return frame.iloc[shown].copy()


@lru_cache(maxsize=16)
def last_step(config: "LeakConfig") -> int:
    """The step at which it ends if nothing is cut: its last one, or where its budget is spent."""
    from bnviz.subjects.memory.experiment_config import expected

    kept = expected(config).curve(config.steps, config.test_share)
    over = np.flatnonzero(kept > config.budget_mib * MIB)
    return int(over[0]) + 1 if len(over) else config.steps


def experiment_card(config: "LeakConfig", experiment: "Experiment | None") -> Card:
    """Prediction and measurement over the steps."""
    shown = config if experiment is None else experiment.config
    labels = {variant: _(VARIANTS[variant].label) for variant in shown.variants}
    measured = _nothing(shown) if experiment is None else measured_frame(experiment)
    cuts = [] if experiment is None else [
        {
            "step": e["step"],
            "text": cut_name(e["name"]) if e["name"] == "undo" else _("{name} −{freed}").format(
                name=cut_name(e["name"]), freed=size_words(e["freed"])
            ),
        }
        for e in experiment.events
    ]  # fmt: skip
    return Card(
        key="leak",
        title=_("What each layer keeps alive, step by step"),
        figure=kept_over_steps(measured, predicted_frame(shown), labels, shown.budget_mib, cuts),
        sentence=_prediction_words(shown) if experiment is None else _measured_words(experiment),
        alt=_("Tensors kept, graph nodes and process memory over the steps"),
        height=HEIGHT,
        asked=f"{shown} {len(cuts)}",
        wide=True,
    )


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
        "note's layer, {kept} in {nodes:,.0f} nodes after {steps:,} steps. Press Run to hold the "
        "measurement against it."
    ).format(
        kept=size_words(last["kept_bytes"]), nodes=last["graph_nodes"], steps=int(last["step"])
    )


def _measured_words(experiment: "Experiment") -> str:
    """Measured beside predicted, at the last step before anything was cut."""
    from bnviz.subjects.memory.experiment_config import expected

    until = min((e["step"] for e in experiment.events), default=len(experiment.table))
    if not until:
        return _(
            "Nothing was measured before the first cut, or the networks are still being built."
        )
    config = experiment.config
    kept = experiment.table.column("kept_bytes")[until - 1]
    predicted = int(expected(config).curve(until, config.test_share)[-1])
    place = config.variants.index("note")
    measured = int(kept[place])
    off = measured - predicted
    others = max(
        (int(k) for k, v in zip(kept, config.variants, strict=True) if v != "note"), default=0
    )
    process = experiment.table.column("process")
    said = _(
        "At step {step:,}{cut} the note's layer keeps {measured}, predicted were {predicted} "
        "({off:+,} bytes, {percent:.2f}%); the corrected and the built-in layer keep {others}. "
        "The process has grown by {process} since its first step, with all that it does beside."
    ).format(
        step=until, measured=size_words(measured), predicted=size_words(predicted), off=off,
        cut=_(", before the first cut,") if experiment.events else "",
        percent=100 * abs(off) / max(predicted, 1),
        others=size_words(others), process=size_words(max(int(process[until - 1] - process[0]), 0)),
    )  # fmt: skip
    now, cut = len(experiment.table), _newest_cut(experiment)
    if until < now or cut is not None:
        keeps = cut["kept"] if cut else experiment.table.column("kept_bytes")[now - 1][place]
        newest = cut["process"] if cut else process[now - 1]
        said += " " + _("Now, at step {step:,}, it keeps {kept}, and the process has grown by {process}.").format(
            step=now, kept=size_words(int(keeps)), process=size_words(max(int(newest - process[0]), 0)),
        )  # fmt: skip
    return said


def show(config: "LeakConfig") -> None:
    """The whole experiment: commands, figure, cuts."""
    commands()
    experiment = on_show(config)
    if experiment is not None and experiment.config != config:
        st.caption(_("The figure shows the experiment as it was started: {words}.").format(
            words=config_words(experiment.config)))  # fmt: skip
    board([experiment_card(config, experiment)], key="leak_board", revision=str(id(experiment)))
    cut_buttons()
    if experiment is not None and any(e["name"] != "undo" for e in experiment.events):
        board([cuts_card(experiment.events)], key="cuts_board", revision=str(id(experiment)))


def on_show(config: "LeakConfig") -> "Experiment | None":
    """The experiment that is going on, or the last one if the controls are still set to it."""
    experiment = lab().experiment
    if experiment is not None and experiment.ended and experiment.config != config:
        return None
    return experiment


def config_words(config: "LeakConfig") -> str:
    """An experiment in a few words."""
    return _("batch size {batch}, {share:.0%} test batches in {mode} mode, {grad}, {graph}").format(
        batch=config.batch_size, share=config.test_share, mode=config.test_mode,
        grad=_("gradients on") if config.grad else _("no_grad"),
        graph=_("graph kept") if config.keep_graph else _("detached"),
    )  # fmt: skip
