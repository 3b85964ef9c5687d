"""What the sections of the memory subject share: the experiment of the process."""

import streamlit as st

from bnviz.app.sessions import is_connected
from bnviz.subjects.memory.experiment_runner import Lab


@st.cache_resource
def lab() -> Lab:
    """The memory experiment: one in a process, whoever looks."""
    return Lab(is_connected)
