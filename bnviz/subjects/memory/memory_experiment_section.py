"""The memory experiment on its page: what to expect, what happens, what cuts the chain."""

from functools import partial
from typing import TYPE_CHECKING, Any

import streamlit as st

from bnviz.app.card_grid import board, figure_board
from bnviz.app.live import live_states
from bnviz.app.setting_controls import setting_control
from bnviz.app.sliders import redraw
from bnviz.census.memory_limits import total_memory
from bnviz.charts.formatting import size_words
from bnviz.data import TEST_IMAGES
from bnviz.i18n import _
from bnviz.records.store import RECORDED_ID
from bnviz.selection import Selection
from bnviz.settings import Setting
from bnviz.subjects.memory.experiment_config import LeakConfig
from bnviz.subjects.memory.experiment_figures import (
    config_words,
    experiment_card,
    state_of_experiment,
)
from bnviz.subjects.memory.experiment_runner import lab
from bnviz.subjects.memory.interventions_section import (
    KEYS,
    cut_buttons,
    cuts_card,
    refused,
    refusing,
)
from bnviz.training.process import find_run_view

if TYPE_CHECKING:
    from bnviz.subjects.memory.memory_experiment import Experiment

GB = 10**9
BATCH_SIZES = (2, 4, 8, 16, 32, 64, 128, 256, 512)
MEMORIES = ("machine", "2", "4", "8", "16", "24")


def chosen() -> LeakConfig:
    """The controls as a LeakConfig. Raises ConfigError as `LeakConfig.parse`."""
    state = st.session_state
    fields = {name: state[key] for name, key in KEYS.items() if key in state}
    if "test_share" in fields:
        fields["test_share"] /= 100
    return LeakConfig.parse(**fields)


def switches() -> None:
    """What keeps a test batch, and what lets it go."""
    modes = {"train": _("train mode"), "eval": _("eval mode")}
    with st.container(horizontal=True, gap="large", vertical_alignment="center"):
        _control("test_mode", format_func=modes.get)
        _control("keep_graph")
        _control("grad")


@st.fragment
def sizes(*, answers: str) -> None:
    """For the sidebar: batch size, steps, budget; `answers` is the key of what shows the experiment."""
    changed = partial(redraw, answers)
    batch, share = Setting.of(LeakConfig, "batch_size"), Setting.of(LeakConfig, "test_share")
    st.select_slider(
        batch.label, BATCH_SIZES, value=batch.default, key=KEYS["batch_size"],
        bind="query-params", on_change=changed, help=batch.help,
    )  # fmt: skip
    st.slider(
        _("{label} (%)").format(label=share.label), 0, 100, round(100 * share.default), 5,
        key=KEYS["test_share"], bind="query-params", on_change=changed, help=share.help,
    )  # fmt: skip
    _control("steps", step=100, on_change=changed)
    _control("budget_mib", step=128, on_change=changed)
    st.selectbox(
        _("When is this memory full?"), MEMORIES, key="mem_memory", bind="query-params",
        format_func=_memory_words, on_change=changed,
        help=_("Prediction only: nothing of that size is allocated."),
    )  # fmt: skip


def _control(name: str, **options: Any) -> None:
    setting_control(name, LeakConfig, key=KEYS[name], **options)


def _memory_words(name: str) -> str:
    if name == "machine":
        return _("this machine's, {gb:.0f} GB").format(gb=total_memory() / GB)
    return _("{gb} GB").format(gb=name)


def prediction_metrics(config: LeakConfig) -> None:
    """What shapes alone say, before anything runs."""
    from bnviz.subjects.memory.expectation import expected

    prediction, name = expected(config), st.session_state["mem_memory"]
    memory = total_memory() if name == "machine" else int(name) * GB
    batch, full = prediction.bytes["test"], prediction.full_at(memory, config.test_share)
    entries = (
        (_("Kept by a test batch"), size_words(batch), _("Predicted: {size:,} bytes, {input:,} of them the images themselves, which the first layer saves.")
            .format(size=batch, input=prediction.input_bytes if batch else 0)),
        (_("Kept by each image"), size_words(batch / config.batch_size), _("Predicted, in a test batch.")),
        (_("One pass over {images:,} test images").format(images=TEST_IMAGES), size_words(batch / config.batch_size * TEST_IMAGES), _("Predicted, if each batch stays.")),
        (_("Kept by a training step"), size_words(prediction.bytes["train"]), _("Predicted: backward frees what the nodes had saved; {n} empty nodes stay.").format(n=prediction.nodes["train"])),
        (_("Tensors alone fill it at step"), "–" if full is None else f"{full:,}",
            _("Predicted for the memory chosen in the sidebar, these switches and this share of test batches. The process takes more than its tensors, so it is full earlier: see below why.")),
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
    if experiment is not None and experiment.ended:
        st.caption(_("The last experiment ({words}) ended after {done:,} steps. {reason}").format(
            words=config_words(experiment.config), done=len(experiment.table),
            reason=experiment.reason,
        ))  # fmt: skip
    state()


def state() -> None:
    """How far the experiment is; the page is drawn again when its state changes."""
    live_states([state_of_experiment()], {"line": "memory/experiment"}, key="experiment_state")


def _start() -> None:
    """With the controls as they are now, not as they were when the button was drawn."""
    with refusing():
        lab().start(chosen())


def _pause(paused: bool) -> None:
    if (experiment := lab().experiment) is not None:
        experiment.pause(paused)


def _end() -> None:
    if (experiment := lab().experiment) is not None:
        experiment.stop()


def show(config: LeakConfig) -> None:
    """The whole experiment: commands, figure, cuts."""
    recorded = find_run_view(RECORDED_ID)
    commands()
    experiment = on_show(config)
    if experiment is not None and experiment.config != config:
        st.caption(_("The figure shows the experiment as it was started: {words}.").format(
            words=config_words(experiment.config)))  # fmt: skip
    if experiment is None:
        board([experiment_card(config, None)], key="leak_board", revision="prediction")
    else:
        figure_board(recorded, Selection(), ["memory/experiment"], key="leak_board")
    cut_buttons()
    if experiment is not None and any(e["name"] != "undo" for e in experiment.events):
        board([cuts_card(experiment.events)], key="cuts_board", revision=str(id(experiment)))


def on_show(config: LeakConfig) -> "Experiment | None":
    """The experiment that is going on, or the last one if the controls are still set to it."""
    experiment = lab().experiment
    if experiment is not None and experiment.ended and experiment.config != config:
        return None
    return experiment
