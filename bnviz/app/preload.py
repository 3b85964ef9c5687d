"""Make torch and the images ready while the reader reads; keep torch out of the collector."""

import gc
import threading

import streamlit as st

from bnviz import data


@st.cache_resource
def warm_up(_after_s: float = 0.0) -> threading.Thread:
    """Import torch and read the images in the background, once a process, `_after_s` from now.

    A page that draws without torch waits, so as not to take the machine from its own first figure.
    Streamlit collects garbage after every run of a script; with torch's objects among the
    candidates that holds the interpreter for 160 ms a tick, so they are frozen.
    """

    def load() -> None:
        import bnviz.training.trainer  # noqa: F401
        from bnviz.training.steps import leave_one_core_free, warm_up_step

        leave_one_core_free()
        data.load()
        warm_up_step()
        gc.collect()
        gc.freeze()

    thread = threading.Timer(_after_s, load)
    thread.name, thread.daemon = "bnviz-warm-up", True
    thread.start()
    return thread
