"""The momentum and eps sliders, and what answers to them."""

from collections.abc import Callable, Mapping
from contextlib import suppress

import streamlit as st
from streamlit.errors import StreamlitAPIException

from bnviz.config import NAMED_EPS, NAMED_MOMENTA
from bnviz.i18n import _
from bnviz.selection import SLIDER_EPS, SLIDER_MOMENTA, with_value
from bnviz.training.process import jobs


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
        "eps": (_("eps ε (added to the variance)"), SLIDER_EPS, 1e-5, NAMED_EPS),
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
