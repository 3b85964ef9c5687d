"""The weights of a run at one of its checkpoints, as a model."""

from typing import Any

import numpy as np
import streamlit as st

from bnviz.ui.runs import RunView, view


@st.cache_resource(max_entries=16)
def _state(run_id: str, variant: str, step: int) -> dict[str, np.ndarray]:
    return view(run_id).source.checkpoint(step, variant)


def model_of(run: RunView, variant: str, step: int) -> Any:
    """A model of its own on the CPU with the weights and statistics of a checkpoint.

    Raises RunError when there is no such checkpoint.
    """
    import torch

    from bnviz.nn.state import restore
    from bnviz.train.steps import build_model

    model = build_model(run.config, variant, torch.device("cpu"))
    restore(model, {k: torch.tensor(v) for k, v in _state(run.id, variant, step).items()})
    return model
