"""What belongs to the whole process: its jobs, its measurements, its memory experiment, maps.

Edit rarely: a changed body makes a new registry.
"""

from typing import TYPE_CHECKING

import streamlit as st

from bnviz.train.jobs import Jobs
from bnviz.train.measurements import Measurements
from bnviz.train.momentum_map import KeptMaps
from bnviz.ui.sessions import is_connected

if TYPE_CHECKING:
    from bnviz.train.lab import Lab


@st.cache_resource
def jobs() -> Jobs:
    """Survives reloads, other tabs, page switches and edits of other files."""
    return Jobs()


@st.cache_resource
def measurements() -> Measurements:
    """One for all tabs: what one has asked for, the others see."""
    return Measurements()


@st.cache_resource
def lab() -> "Lab":
    """The memory experiment: one in a process, whoever looks."""
    from bnviz.train.lab import Lab

    return Lab(is_connected)


@st.cache_resource
def kept_maps() -> KeptMaps:
    """Maps of momentum x batch size that no folder could take, and the way to the others."""
    return KeptMaps()
