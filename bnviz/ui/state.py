"""What a visitor has set: in the URL where a link must carry it, checked when a link arrives."""

from collections.abc import Callable, Sequence

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from bnviz import i18n
from bnviz.config import NAMED_EPS, NAMED_MOMENTA, PRESETS, RunConfig, good_fields
from bnviz.i18n import _
from bnviz.train.store import RECORDED_ID
from bnviz.ui.runs import RUN_KEY, run_ids

MOMENTA = (0.001, 0.003, 0.01, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.99, 1.0)
EPSILONS = (1e-8, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)


def begin() -> list[str]:
    """Set the language and check the link, once a session; returns what was not taken from it."""
    i18n.set_language_source(_language)
    if "link_checked" in st.session_state:
        return []
    st.session_state["link_checked"] = True
    fields, notes = good_fields({k: ",".join(st.query_params.get_all(k)) for k in st.query_params})
    config = RunConfig.parse(**{k: fields[k] for k in ("momentum", "eps") if k in fields})
    st.session_state["link_momentum"], st.session_state["link_eps"] = config.momentum, config.eps
    wanted = st.query_params.get(RUN_KEY, RECORDED_ID)
    if wanted not in run_ids():
        notes.append(
            _("run: there is no run {run!r} here; showing the recorded one.").format(run=wanted)
        )
    return notes


def _language() -> str:
    if get_script_run_ctx(suppress_warning=True) is None:
        return "en"  # a training thread has no URL
    return st.query_params.get("lang", "en")


def with_value(options: tuple[float, ...], value: float | None) -> list[float]:
    """`options` with `value` at its place, so that a link may carry any allowed value."""
    return sorted({*options, *([value] if value is not None else [])})


def momentum_slider(help_text: str, on_change: Callable[[], None] | None = None) -> float:
    """The momentum slider with its named values as buttons under it."""
    return _named_slider(
        "momentum",
        _("momentum m (weight of the new batch)"),
        with_value(MOMENTA, st.session_state.get("link_momentum")),
        0.1,
        NAMED_MOMENTA,
        help_text,
        on_change,
    )


def eps_slider(help_text: str, on_change: Callable[[], None] | None = None) -> float:
    """The eps slider with its named values as buttons under it."""
    return _named_slider(
        "eps",
        _("eps ε (added to the variance)"),
        with_value(EPSILONS, st.session_state.get("link_eps")),
        1e-5,
        NAMED_EPS,
        help_text,
        on_change,
    )


def _named_slider(
    key: str,
    label: str,
    options: list[float],
    default: float,
    named: Sequence[tuple[str, float]],
    help_text: str,
    on_change: Callable[[], None] | None,
) -> float:
    def take(value: float) -> None:
        st.session_state[key] = value
        if on_change is not None:
            on_change()

    value = st.select_slider(
        label,
        options,
        value=default,
        key=key,
        bind="query-params",
        format_func=lambda v: f"{v:g}",
        help=help_text,
        on_change=on_change,
    )
    with st.container(horizontal=True, gap="small"):
        for name, named_value in named:
            st.button(
                f"{_(name)} {named_value:g}",
                key=f"{key}_{named_value:g}",
                on_click=take,
                args=(named_value,),
                type="tertiary",
                help=_("Set {key} to {value:g}, as {name} does.").format(
                    key=key, value=named_value, name=_(name)
                ),
            )
    return value


def take_preset() -> None:
    """Put the chosen preset's settings into the controls."""
    preset = PRESETS.get(st.session_state.get("preset") or "")
    if preset is None:
        return
    config = preset.config()
    st.session_state["variants"] = list(config.variants)
    for name in ("momentum", "eps", "batch_size", "lr", "epochs", "eval_every"):
        st.session_state[name] = getattr(config, name)
    st.session_state["steps"] = 0


def config_from_controls() -> RunConfig:
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
    ]
    fields = {name: st.session_state[name] for name in names if name in st.session_state}
    if st.session_state.get("steps"):
        fields["steps"] = st.session_state["steps"]
        fields["epochs"] = None
    return RunConfig.parse(**fields)
