"""The same run once more with something added: what an empty figure offers."""

from typing import Any

import streamlit as st

from bnviz.config import RunConfig
from bnviz.errors import ConfigError
from bnviz.i18n import _
from bnviz.train.store import runs_folder
from bnviz.ui.registry import jobs
from bnviz.ui.runs import RUN_KEY, RunView


def train_again(run: RunView, key: str, label: str, **changes: Any) -> None:
    """A button that starts the settings of `run` with `changes`, and shows the new run."""

    def start() -> None:
        try:
            config = RunConfig.parse(**{**run.config.model_dump(), **changes})
        except ConfigError as error:
            st.session_state["start_error"] = str(error)
            return
        st.session_state[RUN_KEY] = jobs().start(config, runs_folder()).id

    st.button(
        label, key=key, on_click=start, icon=":material/play_arrow:",
        help=_("Starts a run with the settings of this one; this one stays in the list."),
    )  # fmt: skip
