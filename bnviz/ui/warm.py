"""Make torch ready while the reader still reads, and take its objects out of the collector."""

import gc
import threading

import streamlit as st


@st.cache_resource
def warm_up() -> threading.Thread:
    """Import torch in the background, once a process.

    Streamlit collects garbage after every run of a script; with torch's objects among the
    candidates that holds the interpreter for 160 ms a tick, so they are frozen.
    """

    def load() -> None:
        import bnviz.train.trainer  # noqa: F401

        gc.collect()
        gc.freeze()

    thread = threading.Thread(target=load, name="bnviz-warm-up", daemon=True)
    thread.start()
    return thread
