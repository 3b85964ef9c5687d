"""What a BN layer would pass on before the first step, by the value its running variance starts at."""

import numpy as np
import torch

from bnviz.config import RunConfig
from bnviz.evaluation.inference import with_statistics
from bnviz.evaluation.layer_stages import layer_stages
from bnviz.records.schema import LAYERS
from bnviz.training.checkpoints import replayable_variant
from bnviz.training.steps import build_model

START_IMAGES = 256
"""So many test images are sent through it."""


def before_training(
    config: RunConfig, variant: str, layer: str, images: np.ndarray, *, start: float, eps: float
) -> float:
    """The largest size of what leaves a BN layer in eval mode before the first step.

    At the initial weights of a run, with a running mean of 0 and a running variance of `start` in
    every layer, over the first START_IMAGES of uint8 `images` (N, 28, 28). Raises ConfigError for
    an unknown layer or a variant without statistics.
    """
    replayable_variant(config, variant)
    model = build_model(config, variant, torch.device("cpu"))
    untouched = {name: (np.zeros(n), np.full(n, start)) for name, n in LAYERS.items()}
    with with_statistics(model, untouched, eps):
        stages = layer_stages(model, torch.tensor(images[:START_IMAGES]), layer, mode="eval")
    return float(np.abs(stages["scaled"]).max())
