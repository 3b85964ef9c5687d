"""The step that a page shows: a slider over the probed steps, and a button that walks through them."""

import time

import streamlit as st

from bnviz.app.runs import RunView
from bnviz.i18n import _
from bnviz.records.reading import probe_steps

TICK_S = 0.7
STEP = "probe_step"
_PLAYING = "probe_playing"  # when the play made its last step, None while it rests
_NEWEST = "probe_newest"


def steps_of(run: RunView) -> list[int]:
    """The probed steps to choose from, ascending; none before the first probe."""
    return probe_steps(run.history, run.config.variants[0]).tolist()


def scrubber(run: RunView) -> None:
    """The step slider that all figures of the page follow, and a button that moves it."""
    steps = steps_of(run)
    if len(steps) < 2:
        return
    if is_playing():
        _advance(steps)
    playing = is_playing()
    at = st.session_state.get(STEP)
    if at is None or (at == st.session_state.get(_NEWEST) and not playing):
        st.session_state[STEP] = steps[-1]  # the newest step stays the newest as a run grows
    elif at not in steps:
        st.session_state[STEP] = min(steps, key=lambda step: abs(step - at))
    st.session_state[_NEWEST] = steps[-1]
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
        st.button(
            _("Stop") if playing else _("Play"), key="probe_play",
            icon=":material/pause:" if playing else ":material/play_arrow:",
            on_click=_toggle, args=(not playing, steps),
            help=_("Walk through the probed steps, a step each {seconds:g} s.").format(
                seconds=TICK_S
            ),
        )  # fmt: skip
        st.select_slider(
            _("Step on show"), steps, key=STEP, bind="query-params", width=460,
            help=_("All figures of this page show this step."),
        )  # fmt: skip


def is_playing() -> bool:
    """Whether the steps walk by themselves."""
    return st.session_state.get(_PLAYING) is not None


def _toggle(play: bool, steps: list[int]) -> None:
    st.session_state[_PLAYING] = time.monotonic() if play else None
    if play and st.session_state.get(STEP, steps[-1]) == steps[-1]:
        st.session_state[STEP] = steps[0]


def _advance(steps: list[int]) -> None:
    """One step further, if it is time; at the end the play is over."""
    now = time.monotonic()
    if now - st.session_state[_PLAYING] < 0.8 * TICK_S:  # another control ran the figures
        return
    at = st.session_state.get(STEP, steps[-1])
    later = [step for step in steps if step > at]
    st.session_state[_PLAYING] = now if later else None
    if later:
        st.session_state[STEP] = later[0]
