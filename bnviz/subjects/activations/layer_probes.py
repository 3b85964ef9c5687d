"""The channels of a layer at checkpoints, looked at once for all. Torch is loaded on the first look."""

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bnviz import data
from bnviz.errors import BnvizError
from bnviz.i18n import _
from bnviz.nn.variants import VARIANTS
from bnviz.records.checkpoint_files import nearest_checkpoint
from bnviz.records.reading import channel_history
from bnviz.selection import Selection
from bnviz.training.run_view import RunView

if TYPE_CHECKING:
    from bnviz.subjects.activations.checkpoint_probes import LayerProbe


@lru_cache(maxsize=64)
def _probe(run: RunView, variant: str, step: int, layer: str) -> "LayerProbe":
    from bnviz.subjects.activations.checkpoint_probes import probe_layer

    return probe_layer(run.source, variant, step, layer, data.load(run.config.dataset))


def layer_probe(run: RunView, variant: str, step: int | None, layer: str) -> "LayerProbe":
    """The channels of `layer` at the checkpoint nearest to `step`; a repeat is instant.

    Raises RunError while there is no checkpoint.
    """
    return _probe(run, variant, nearest_checkpoint(run.source.checkpoints(variant), step), layer)


def try_probe(run: RunView, variant: str, step: int | None, layer: str) -> "LayerProbe | None":
    """`layer_probe`, or None where there is none: figures then go without what it adds."""
    try:
        return layer_probe(run, variant, step, layer)
    except BnvizError:
        return None


@lru_cache(maxsize=128)
def _affine_path(
    run: RunView, variant: str, layer: str, channel: int, steps: tuple[int, ...]
) -> pd.DataFrame:
    from bnviz.subjects.activations.checkpoint_probes import affine_over_steps

    return affine_over_steps(run.source, variant, layer, channel)


def followed_over_steps(
    run: RunView, variant: str, layer: str, stage: str, channel: int | None
) -> dict[str, np.ndarray] | None:
    """Step, mean and std of one channel at a stage over the run.

    Before BN they are those of the batches; after it bias and size of the weight at the
    checkpoints, which is what BN makes them. None where nothing is known or followed.
    """
    if channel is None or not VARIANTS[variant].normalizes:
        return None
    if stage == "input":
        found = channel_history(run.history, variant, layer, [channel])
        return {name: values if name == "step" else values[:, 0] for name, values in found.items()}
    if stage != "scaled":
        return None
    steps = tuple(run.source.checkpoints(variant))
    try:
        path = _affine_path(run, variant, layer, channel, steps)
    except BnvizError:
        return None
    return {
        "step": path["step"].to_numpy(),
        "mean": path["bias"].to_numpy(),
        "std": path["weight"].abs().to_numpy(),
    }


def followed_quantiles(run: RunView, chosen: Selection) -> tuple[str, dict[str, np.ndarray]] | None:
    """Name and quantiles by stage of the channel that is followed; None where there is none."""
    variant, channel = run.variant(chosen.variant), chosen.followed
    if channel is None or (probe := try_probe(run, variant, chosen.step, chosen.layer)) is None:
        return None
    name = _("channel {channel}, {variant}").format(channel=channel, variant=run.labels[variant])
    return name, {stage: rows[channel] for stage, rows in probe.quantiles.items()}
