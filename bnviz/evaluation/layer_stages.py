"""One norm layer from inside: what chosen images are before BN, normalized, scaled and activated."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from bnviz.errors import ConfigError, check_choice
from bnviz.evaluation.inference import to_input
from bnviz.i18n import _
from bnviz.instrument.capture import capture
from bnviz.nn.lenet import LeNet
from bnviz.nn.state import restored
from bnviz.nn.state import statistics as get_statistics

Stages = dict[str, np.ndarray]
"""Values (N, C) or (N, C, H, W) of the stages that a layer has, in order."""


@torch.no_grad()
def layer_stages(model: LeNet, images: Tensor, layer: str, *, mode: str) -> Stages:
    """What uint8 `images` (N, 28, 28) are at each stage of one norm layer.

    ``input`` is what enters it, ``normalized`` that with the mean taken off and divided by the
    standard deviation, ``scaled`` what leaves it, ``activation`` what the next layer sees; the
    names are those of `bnviz.records.schema.STAGES`. A network without BN has the first and the last.
    In ``train`` mode all images are one batch and normalize each other, in ``eval`` mode the
    running statistics do. The model is put back as it was, also on failure.

    Raises ConfigError for an unknown layer or mode and for a single image in train mode.
    """
    layers = model.norm_layers()
    check_choice("layer", layer, layers)
    check_choice("mode", mode, ("train", "eval"))
    if mode == "train" and len(images) < 2:
        raise ConfigError(
            _("images: got {value} in train mode; allowed: 2 or more, which normalize each other.")
            .format(value=len(images))
        )  # fmt: skip
    norm = layers[layer]
    chain: list[Any] = [*model.conv, *model.fc]
    activation = chain[next(k for k, module in enumerate(chain) if module is norm) + 1]
    own = get_statistics(norm)
    before = None if own is None else tuple(value.clone() for value in own)
    watched = {"norm": norm, "activation": activation}
    with restored(model), capture(watched) as seen:
        model.train(mode == "train")
        model(to_input(images, next(model.parameters()).dtype))
    x = seen.inputs["norm"]
    stages = {"input": x}
    if before is not None:
        stages |= {"normalized": _normalized(x, norm, mode, before), "scaled": seen.outputs["norm"]}
    stages["activation"] = seen.outputs["activation"]
    return {name: values.cpu().float().numpy() for name, values in stages.items()}


def _normalized(x: Tensor, norm: Any, mode: str, running: tuple[Tensor, ...]) -> Tensor:
    mean, var = running
    if mode == "train":
        var, mean = torch.var_mean(x, [d for d in range(x.dim()) if d != 1], correction=0)
    shape = [1, -1] + [1] * (x.dim() - 2)
    return (x - mean.reshape(shape)) / torch.sqrt(var.reshape(shape) + norm.eps)
