"""The step that figures show: a slider over the recorded steps, and a button that walks through them."""

from functools import partial

import streamlit as st

from bnviz.app.live import live_states
from bnviz.i18n import _
from bnviz.records.reading import probe_steps
from bnviz.training.run_view import RunView

STEP = "step"
PLAY_S = 0.7
_PLAYING = "playing"
_NEWEST = "newest_step"
_CHOSEN = "chosen_step"


def recorded_steps(run: RunView) -> list[int]:
    """The steps to choose from, ascending; the last of a run that goes on stands for its newest."""
    steps = probe_steps(run.history, run.config.variants[0]).tolist()
    if not run.live:
        return steps
    steps = steps or [1]
    return [*steps, max(run.total_steps, steps[-1] + 1)]


def chosen_step() -> int | None:
    """The step of the slider on this page; None is the newest of a run that goes on."""
    return st.session_state.get(_CHOSEN)


def step_control(run: RunView) -> None:
    """The slider that all figures follow, and a button that moves it from step to step."""
    steps = recorded_steps(run)
    st.session_state[_CHOSEN] = None
    if len(steps) < 2:
        return
    at = st.session_state.get(STEP)
    # A value that is set, even to itself, writes the address: set only what changes.
    if at != steps[-1] and (at is None or at == st.session_state.get(_NEWEST)):
        st.session_state[STEP] = steps[-1]  # the newest step stays the newest as a run grows
    elif at not in steps:
        st.session_state[STEP] = min(steps, key=lambda step: abs(step - at))
    st.session_state[_NEWEST] = steps[-1]
    if not run.live or st.session_state[STEP] != steps[-1]:
        st.session_state[_CHOSEN] = st.session_state[STEP]
    playing = st.session_state.get(_PLAYING, False)
    st.select_slider(
        _("Step"), steps, key=STEP, bind="query-params",
        help=_("The step that every figure of one step shows; the last is the latest."),
    )  # fmt: skip
    st.button(
        _("Stop") if playing else _("Play"), key="probe_play",
        icon=":material/pause:" if playing else ":material/play_arrow:",
        on_click=_toggle, args=(not playing, steps),
        help=_("Walk through the recorded steps, one each {seconds:g} s.").format(seconds=PLAY_S),
    )  # fmt: skip
    if playing:
        live_states([], {}, key="playback", after_s=PLAY_S, on_change=partial(_advance, steps))


def _toggle(play: bool, steps: list[int]) -> None:
    st.session_state[_PLAYING] = play
    if play and st.session_state.get(STEP, steps[-1]) == steps[-1]:
        st.session_state[STEP] = steps[0]
        st.session_state[_NEWEST] = None


def _advance(steps: list[int]) -> None:
    """In a callback: one step further; at the end the walk is over."""
    later = [step for step in steps if step > st.session_state[STEP]]
    if later:
        st.session_state[STEP] = later[0]
    st.session_state[_PLAYING] = len(later) > 1
