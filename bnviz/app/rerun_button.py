"""The same run once more with something added: what an empty figure offers."""

from typing import Any

import streamlit as st

from bnviz.app.runs import show
from bnviz.config import RunConfig
from bnviz.i18n import _, listed
from bnviz.nn.variants import VARIANTS
from bnviz.records.run_names import runs_folder
from bnviz.training.process import jobs
from bnviz.training.run_view import RunView


def with_changes(config: RunConfig, **changes: Any) -> RunConfig:
    """The same settings with `changes`. Raises ConfigError as `RunConfig.parse`."""
    return RunConfig.parse(**{**config.model_dump(), **changes})


def beside_none(config: RunConfig) -> tuple[str, ...]:
    """The variants of `config` and, if it is not among them, the network without BN."""
    return config.variants if "none" in config.variants else (*config.variants, "none")


def train_again(config: RunConfig, *, key: str, label: str) -> None:
    """A button that starts a run of `config` and shows it."""

    def start() -> None:
        show(jobs().start(config, runs_folder()).id)

    st.button(
        label, key=key, on_click=start, icon=":material/play_arrow:",
        help=_("Starts a new run of {variants} and shows it here; this one stays in the list.")
        .format(variants=listed(_(VARIANTS[v].label) for v in config.variants)),
    )  # fmt: skip


def train_again_with_bn(run: RunView, message: str) -> None:
    """Where a run has no running statistics: `message`, and a button that trains it beside one that has."""
    st.info(message)
    train_again(
        with_changes(run.config, variants=(*run.config.variants, "builtin")),
        key="again_builtin", label=_("Train again with nn.BatchNorm beside it"),
    )  # fmt: skip
