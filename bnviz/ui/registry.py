"""The one registry of jobs of this process. Edit rarely: a changed body makes a new registry."""

import streamlit as st

from bnviz.train.jobs import Jobs


@st.cache_resource
def jobs() -> Jobs:
    """Survives reloads, other tabs, page switches and edits of other files."""
    return Jobs()
