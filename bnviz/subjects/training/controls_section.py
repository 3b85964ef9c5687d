"""The cockpit of the Train page: set up, start, pause, step, stop, progress."""

from typing import Any

import streamlit as st

from bnviz.app.controls import choices_control, slider_controls
from bnviz.app.runs import RUN_KEY, show
from bnviz.app.setting_controls import setting_control
from bnviz.config import PRESETS, RunConfig
from bnviz.errors import ConfigError
from bnviz.i18n import _
from bnviz.nn.variants import VARIANTS
from bnviz.records.store import RECORDED_ID, runs_folder
from bnviz.settings import Setting
from bnviz.training.jobs import Job, State
from bnviz.training.process import jobs
from bnviz.training.run_view import RunView

STEP_SIZES = (1, 25, 100)
LR_STEP = 0.001
MORE_SETTINGS: dict[str, dict[str, Any]] = {
    "optimizer": {}, "activation": {}, "device": {}, "dataset": {}, "seed": {},
    "eval_every": {"step": 50}, "memory_limit_mib": {"step": 128},
}  # fmt: skip
"""Settings that are seldom changed, with what a press on + adds where that is not 1."""
# Median share of the time on the machine of docs/benchmarks.md ("What watching costs").
GRADIENTS_COST = 0.02
BADGES: dict[State, tuple[Any, str]] = {
    State.QUEUED: ("gray", ":material/hourglass_empty:"),
    State.PREPARING: ("gray", ":material/hourglass_top:"),
    State.RUNNING: ("green", ":material/play_arrow:"),
    State.PAUSED: ("orange", ":material/pause:"),
    State.FINISHING: ("blue", ":material/flag:"),
    State.DONE: ("blue", ":material/check:"),
    State.STOPPED: ("gray", ":material/stop:"),
    State.FAILED: ("red", ":material/error:"),
}


def state_name(state: State) -> str:
    """The state of a job in the reader's language."""
    return {
        State.QUEUED: _("queued"),
        State.PREPARING: _("getting ready"),
        State.RUNNING: _("running"),
        State.PAUSED: _("paused"),
        State.FINISHING: _("final evaluation"),
        State.DONE: _("done"),
        State.STOPPED: _("stopped"),
        State.FAILED: _("failed"),
    }[state]


def sidebar(run: RunView) -> None:
    """Sliders that act on the chosen run, and the set-up of the next run."""

    def apply() -> None:
        if run.job is not None and not run.job.ended:
            run.job.set(momentum=st.session_state["momentum"], eps=st.session_state["eps"])

    with st.sidebar:
        slider_controls(run, ("step", "momentum", "eps"), on_change=apply)
        if run.live and run.job is not None:
            _live_lr(run.job)
        st.caption(
            _("Changes act on the running network from its next step.")
            if run.live
            else _("Momentum replays the recorded batches at once; both start the next run.")
        )
        st.divider()
        st.markdown(_("**Set up the next run**"))
        _setup()


def _live_lr(job: Job) -> None:
    """The learning rate of the run that trains now."""
    key = f"lr_{job.id}"
    setting_control(
        "lr", key=key, label=_("learning rate of this run"), value=job.settings.get("lr") or job.config.lr,
        step=LR_STEP, bind=None, on_change=lambda: job.set(lr=st.session_state[key]),
        help=_("Acts on the optimizers of all variants from the next step; marked in the curves."),
    )  # fmt: skip


def _setup() -> None:
    st.pills(
        _("Preset"),
        list(PRESETS),
        key="preset",
        persist_state="session",
        format_func=lambda name: _(PRESETS[name].label),
        on_change=_take_preset,
        help=_("A starting point; every setting can be changed afterwards."),
    )
    variants = Setting.of(RunConfig, "variants")
    choices_control(
        variants.label, {v.key: _(v.label) for v in VARIANTS.values()}, "variants",
        default=variants.default,
        help="  \n".join(f"**{_(v.label)}**: {_(v.sentence)}" for v in VARIANTS.values()),
    )  # fmt: skip
    setting_control("batch_size")
    setting_control(
        "gradients",
        label=_("Record gradients (costs about {cost:.0%} of the time)").format(
            cost=GRADIENTS_COST
        ),
        help=_(
            "For the backward part of the Activations page: the gradient at each BN layer and how "
            "far each step moves the weights, at the steps where activations are probed. The "
            "cost is the median of a benchmark; each run says there what it measured itself."
        ),
    )
    with st.expander(_("More settings")):
        setting_control("epochs", value=1)
        setting_control(
            "steps", value=0, min_value=0, step=100, label=_("Stop after steps (0 = whole epochs)")
        )
        setting_control("lr", step=LR_STEP)
        for name, options in MORE_SETTINGS.items():
            setting_control(name, **options)


def _take_preset() -> None:
    """Put the chosen preset's settings into the controls."""
    preset = PRESETS.get(st.session_state.get("preset") or "")
    if preset is None:
        return
    config = preset.config()
    st.session_state["variants"] = list(config.variants)
    for name in ("momentum", "eps", "batch_size", "lr", "epochs", "eval_every"):
        st.session_state[name] = getattr(config, name)
    st.session_state["steps"] = 0


def _config_from_controls() -> RunConfig:
    """The RunConfig that the controls describe. Raises ConfigError as `RunConfig.parse`."""
    names = [
        "dataset",
        "variants",
        "activation",
        "batch_size",
        "epochs",
        "lr",
        "optimizer",
        "momentum",
        "eps",
        "seed",
        "device",
        "memory_limit_mib",
        "eval_every",
        "gradients",
    ]
    fields = {name: st.session_state[name] for name in names if name in st.session_state}
    if st.session_state.get("steps"):
        fields["steps"] = st.session_state["steps"]
        fields["epochs"] = None
    return RunConfig.parse(**fields)


def start() -> None:
    """Start a run with the settings of the controls and show it."""
    try:
        config = _config_from_controls()
    except ConfigError as error:
        st.session_state["start_error"] = str(error)
        return
    show(jobs().start(config, runs_folder()).id)


def reset() -> None:
    """Stop what runs and go back to the recorded run; a stored run stays in the list."""
    job = jobs().get(st.session_state.get(RUN_KEY, RECORDED_ID))
    if job is not None:
        jobs().stop(job)
    show(RECORDED_ID)


def controls(run: RunView) -> None:
    """Start, pause, step, stop, reset in one fixed place, with the state beside them."""
    job = run.job
    live = run.live
    can_step = live and job is not None and job.state in (State.RUNNING, State.PAUSED)
    paused = job is not None and job.state is State.PAUSED
    with st.container(horizontal=True, gap="small", vertical_alignment="center", key="controls"):
        st.button(
            _("Start"), key="start", type="primary", icon=":material/play_arrow:",
            on_click=start, help=_("Start a run with the settings in the sidebar."),
        )  # fmt: skip
        st.button(
            _("Resume") if paused else _("Pause"), key="pause", disabled=not can_step,
            icon=":material/resume:" if paused else ":material/pause:",
            on_click=_resume if paused else _pause, args=(job,), help=_("Pause between two steps, or go on."),
        )  # fmt: skip
        for count in STEP_SIZES:
            st.button(
                f"+{count}", key=f"step_{count}", disabled=not can_step,
                on_click=_step, args=(job, count),
                help=_("Make {count} more steps, then pause.").format(count=count),
            )  # fmt: skip
        st.button(
            _("Stop"), key="stop", icon=":material/stop:", disabled=not live,
            on_click=_stop, args=(job,), help=_("End the run here; what was recorded stays."),
        )  # fmt: skip
        st.button(
            _("Reset"), key="reset", icon=":material/restart_alt:", disabled=run.recorded,
            on_click=reset, help=_("Stop, and show the recorded run again."),
        )  # fmt: skip
        if job is not None:
            colour, icon = BADGES[job.state]
            st.badge(state_name(job.state), color=colour, icon=icon)


# What the button said when it was pressed, not the opposite of what the run does by then.
def _pause(job: Job | None) -> None:
    if job is not None:
        job.pause()


def _resume(job: Job | None) -> None:
    if job is not None:
        job.resume()


def _step(job: Job | None, count: int) -> None:
    if job is not None:
        job.step(count)


def _stop(job: Job | None) -> None:
    if job is None:
        return
    jobs().stop(job)
    if job.never_began:
        show(RECORDED_ID)


def messages(run: RunView) -> None:
    """Errors and warnings of the start and of the chosen run, each in one line."""
    if error := st.session_state.pop("start_error", None):
        st.error(error, icon=":material/error:")
    job = run.job
    stopped = dict(job.stopped_variants) if job is not None else {}
    if run.summary is not None:
        stopped = {v: e["stopped"] for v, e in run.summary["variants"].items() if e["stopped"]}
    for reason in stopped.values():
        st.warning(reason, icon=":material/warning:")
    if job is None:
        return
    if job.error:
        st.error(job.error, icon=":material/error:")
    if job.warning:
        st.warning(job.warning, icon=":material/warning:")
    if job.state is State.QUEUED:
        st.info(
            _("Waiting: {place} in the queue. One run trains at a time; this one starts by itself.")
            .format(place=jobs().place(job)),
            icon=":material/hourglass_empty:",
        )  # fmt: skip


def difference_note(config: RunConfig) -> str:
    """Why two right layers part all the same, for runs that show two of them."""
    right = [v for v in config.variants if VARIANTS[v].agrees]
    if len(right) < 2 or config.dtype != "float32":
        return ""
    return _(
        "These layers agree to rounding. Where rounding makes max pooling take another pixel, "
        "the gradient flows elsewhere, and in float32 their curves diverge: neither layer is "
        "wrong."
    )
