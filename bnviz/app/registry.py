"""What belongs to the whole process: its jobs, its measurements, its memory experiment, maps.

Edit rarely: a changed body makes a new registry.
"""

from typing import TYPE_CHECKING

import streamlit as st

from bnviz.records.momentum_maps import KeptMaps
from bnviz.training.jobs import Jobs
from bnviz.training.tasks import Measurements

if TYPE_CHECKING:
    pass


@st.cache_resource
def jobs() -> Jobs:
    """Survives reloads, other tabs, page switches and edits of other files."""
    return Jobs()


@st.cache_resource
def measurements() -> Measurements:
    """One for all tabs: what one has asked for, the others see."""
    return Measurements()


@st.cache_resource
def kept_maps() -> KeptMaps:
    """Maps of momentum x batch size that no folder could take, and the way to the others."""
    return KeptMaps()
