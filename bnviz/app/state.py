"""What a visitor has set: in the URL where a link must carry it, checked when a link arrives."""

from collections.abc import Callable, Mapping
from contextlib import suppress

import streamlit as st
from streamlit.errors import StreamlitAPIException
from streamlit.runtime.scriptrunner import get_script_run_ctx

from bnviz import i18n
from bnviz.app.runs import RUN_KEY, run_ids
from bnviz.config import NAMED_EPS, NAMED_MOMENTA, PRESETS, RunConfig, good_fields
from bnviz.i18n import _
from bnviz.records.store import RECORDED_ID
from bnviz.selection import SLIDER_MOMENTA, with_value
from bnviz.training.process import jobs

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


def redraw(fragment: str | list[str]) -> None:
    """In a callback: run only the fragments of these keys, which are all that answer to the widget.

    Whatever trains gives way meanwhile, also a run that another page shows.
    The widget must stand in a fragment itself: from outside of any, Streamlit 1.67 begins a run of
    the whole page for the callback, and all that ticks on the page stops. Where the page has not
    come to the fragment yet, the widget's own fragment runs, as it does by itself.
    """
    jobs().yield_cpu()
    with suppress(StreamlitAPIException):
        st.rerun(fragment)


def sliders_here(help_texts: Mapping[str, str]) -> None:
    """The momentum and eps sliders that have a help text, inside the fragment that answers to them.

    The quickest way: one run answers, where sliders that stand apart need a second one.
    """
    for place, (name, help_text) in zip(
        st.columns(2, gap="medium"), help_texts.items(), strict=False
    ):
        with place:
            _named_slider(name, help_text)


def eps_slider(help_text: str, on_change: Callable[[], None] = lambda: None) -> None:
    """The eps slider with its named values; `on_change` hears once of each change."""
    _named_slider("eps", help_text, on_change)


def momentum_slider(help_text: str, on_change: Callable[[], None] = lambda: None) -> None:
    """The momentum slider with its named values; `on_change` hears once of each change."""
    _named_slider("momentum", help_text, on_change)


def _named_slider(key: str, help_text: str, on_change: Callable[[], None] = lambda: None) -> None:
    """One slider with its named values as buttons under it; whatever trains gives way meanwhile."""
    label, options, default, named = {
        "momentum": (_("momentum m (weight of the new batch)"), SLIDER_MOMENTA, 0.1, NAMED_MOMENTA),
        "eps": (_("eps ε (added to the variance)"), EPSILONS, 1e-5, NAMED_EPS),
    }[key]

    def changed() -> None:
        jobs().yield_cpu()
        on_change()

    def take(value: float) -> None:
        if st.session_state.get(key) != value:
            st.session_state[key] = value
            changed()

    st.select_slider(
        label,
        with_value(options, st.session_state.get(f"link_{key}")),
        value=default,
        key=key,
        bind="query-params",
        format_func=lambda v: f"{v:g}",
        help=help_text,
        on_change=changed,
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
        "gradients",
    ]
    fields = {name: st.session_state[name] for name in names if name in st.session_state}
    if st.session_state.get("steps"):
        fields["steps"] = st.session_state["steps"]
        fields["epochs"] = None
    return RunConfig.parse(**fields)
