"""A checkpoint looked into with images: every channel of a layer, and the maps of one image."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from bnviz.data import Dataset
from bnviz.evaluation.inference import forward
from bnviz.evaluation.layer_stages import layer_stages
from bnviz.nn.state import restored
from bnviz.records.schema import LEVELS
from bnviz.subjects.activations.channels import affine_of, channel_quantiles, channel_table
from bnviz.training.checkpoints import Run, model_at

PROBE_IMAGES = 256
"""The first so many test images are what the channels of every checkpoint are looked at with."""
SHOWN = ("input", "scaled", "activation")


@dataclass(frozen=True)
class LayerProbe:
    """All channels of a layer at a checkpoint, from PROBE_IMAGES images in train mode."""

    step: int
    images: int
    table: pd.DataFrame
    """See `bnviz.subjects.activations.channels.channel_table`."""
    quantiles: dict[str, np.ndarray]
    """Stage to quantiles at LEVELS, (C, QUANTILES)."""


def probe_layer(run: Run, variant: str, step: int, layer: str, dataset: Dataset) -> LayerProbe:
    """Look at every channel of `layer` with the probe images of `dataset`, as one batch.

    Raises RunError when the checkpoint is gone or damaged and ConfigError for an unknown layer.
    """
    model = model_at(run, variant, step)
    images = torch.tensor(dataset.test_images[:PROBE_IMAGES])
    stages = layer_stages(model, images, layer, mode="train")
    return LayerProbe(
        step,
        len(images),
        channel_table(stages, affine_of(model, layer), run.config.activation),
        {name: channel_quantiles(values, LEVELS) for name, values in stages.items()},
    )


@dataclass(frozen=True)
class ImageProbe:
    """What a layer makes of one image in both modes."""

    maps: dict[str, dict[str, np.ndarray]]
    """Mode to stage (those of SHOWN that there are) to maps (C, H, W); (C, 1, 1) of a vector."""
    probabilities: dict[str, np.ndarray]
    """Mode to the network's probabilities (10,)."""


def probe_image(run: Run, variant: str, step: int, layer: str, images: np.ndarray) -> ImageProbe:
    """The first of uint8 `images` (N, 28, 28) through one layer, in both modes.

    In train mode the other images are the rest of its batch; in eval mode they do not matter.
    Raises RunError when the checkpoint is gone or damaged, ConfigError for an unknown layer or a
    single image.
    """
    model, batch = model_at(run, variant, step), torch.tensor(images)
    maps, probabilities = {}, {}
    for mode in ("train", "eval"):
        stages = layer_stages(model, batch, layer, mode=mode)
        maps[mode] = {
            name: values[0].reshape(values.shape[1], *(values.shape[2:] or (1, 1)))
            for name, values in stages.items()
            if name in SHOWN
        }
        with restored(model):
            logits = forward(model, batch, mode=mode, batch_size=len(batch))
        probabilities[mode] = logits[0].softmax(0).float().numpy()
    return ImageProbe(maps, probabilities)


def affine_over_steps(run: Run, variant: str, layer: str, channel: int) -> pd.DataFrame:
    """Weight and bias of one channel at every checkpoint: columns step, weight, bias.

    No rows for a network without BN. Raises RunError when a checkpoint is damaged.
    """
    rows = []
    for step in run.checkpoints(variant):
        found = affine_of(model_at(run, variant, step), layer)
        if found is not None:
            rows.append((step, float(found[0][channel]), float(found[1][channel])))
    return pd.DataFrame(rows, columns=["step", "weight", "bias"])
