"""What Batch Normalization takes away from the layer before it: its scale, its shift, its bias.

BN(k x + s) = BN(x) for k > 0 (Ioffe & Szegedy 2015, section 3.3, https://arxiv.org/abs/1502.03167),
up to eps: the variance becomes k² σ² and eps stays, so a normalized value is multiplied by
k sqrt(σ² + eps) / sqrt(k² σ² + eps). And since a shift changes nothing, the gradient of the bias
before BN is zero.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from bnviz.errors import ConfigError, check_choice
from bnviz.evaluation.inference import to_input
from bnviz.i18n import _
from bnviz.instrument.capture import capture
from bnviz.nn.state import affine, restored


def layer_before(model: Any, layer: str) -> nn.Module:
    """The convolution or linear layer whose output the norm layer of that name takes.

    Raises ConfigError for a name that `model.norm_layers` has not.
    """
    norms = model.norm_layers()
    check_choice("layer", layer, norms)
    for parent in model.modules():
        for before, after in itertools.pairwise(parent.children()):
            if after is norms[layer]:
                return before
    raise ConfigError(_("layer: nothing stands before {layer!r}.").format(layer=layer))


@torch.no_grad()
def rescaled(
    model: Any, layer: str, images: Tensor, scales: Sequence[float], shift: float
) -> pd.DataFrame:
    """The output of a BN layer in train mode after scaling the layer before it and shifting its bias.

    Weights and bias of the layer before are multiplied by each of `scales`, then `shift` is added
    to the bias, so that BN gets k x + s. `images` are uint8 (N, 28, 28), one batch.

    One row a scale: `scale`; `input_mean` and `input_std` of what BN gets, over all channels;
    `output_std`; `difference`, the largest change of a value of BN's output, in units of the
    standard deviation of the unchanged output; `predicted`, how much of it eps alone makes (float64,
    from the formula above); and `factor`, what eps multiplies the normalized values by in the
    channel of the least variance. What is more than predicted is rounding in the model's dtype.

    The model is as before afterwards. Raises ConfigError for another layer, a scale that is not
    above 0 and a shift that is not finite.
    """
    _check_affine(scales, shift)
    before, norm = layer_before(model, layer), model.norm_layers()[layer]
    taken = _input_of(model, before, images)
    rows = []
    with restored(model):
        model.train()
        x = before(taken)
        y = norm(x)
        unit = float(y.std(correction=0)) or 1.0
        var = x.double().var(
            [dim for dim in range(x.dim()) if dim != 1], correction=0, keepdim=True
        )
        turned = _without_bias(norm, y)
        for scale in scales:
            changed = {name: scale * p for name, p in before.named_parameters()}
            changed["bias"] = changed["bias"] + shift
            moved_x = functional_call(before, changed, (taken,))
            moved_y = norm(moved_x)
            factor = scale * ((var + norm.eps) / (scale**2 * var + norm.eps)).sqrt()
            rows.append(
                {
                    "scale": scale,
                    "input_mean": float(moved_x.mean()),
                    "input_std": float(moved_x.std(correction=0)),
                    "output_std": float(moved_y.std(correction=0)),
                    "difference": float((moved_y - y).abs().max()) / unit,
                    "predicted": float((turned * (factor - 1)).abs().max()) / unit,
                    "factor": float(factor.flatten()[var.argmin()]),
                }
            )
    return pd.DataFrame(rows)


def _check_affine(scales: Sequence[float], shift: float) -> None:
    """Refuse a scale that is not above 0, and what is not finite."""
    for name, value in (*(("scale", scale) for scale in scales), ("shift", shift)):
        if not np.isfinite(value) or (name == "scale" and value <= 0):
            raise ConfigError(
                _("{name}: got {value:g}; allowed: finite numbers, for the scale above 0.").format(
                    name=name, value=value
                )
            )


def _without_bias(norm: nn.Module, y: Tensor) -> Tensor:
    """What leaves a norm layer less its bias, in float64: the part that eps multiplies."""
    found = affine(norm)
    bias = torch.zeros(y.shape[1]) if found is None else found[1]
    return (y - bias.view(1, -1, *[1] * (y.dim() - 2))).double()


def bias_gradients(model: Any, images: Tensor, labels: Tensor) -> pd.DataFrame:
    """Gradients of weights and bias of every convolution and linear layer, in train mode.

    `images` are uint8 (N, 28, 28), `labels` int64 (N,); the loss is the mean cross-entropy.

    One row a layer, in order: `layer`, by the name of the norm layer that it stands before, the
    last one ``out``; `weights` and `bias`, the root mean square of the gradients of each. Before BN
    that of the bias is rounding; the last layer has no BN behind it and shows the contrast. The
    model is as before afterwards, `.grad` included.
    """
    layers = model.weight_layers()
    with restored(model):
        model.train()
        dtype = next(model.parameters()).dtype
        loss = F.cross_entropy(model(to_input(images, dtype)), labels)
        asked = [p for layer in layers.values() for p in layer.parameters()]  # weight, bias, …
        found = [g.double().square().mean().sqrt().item() for g in torch.autograd.grad(loss, asked)]
    return pd.DataFrame({"layer": list(layers), "weights": found[::2], "bias": found[1::2]})


def _input_of(model: nn.Module, layer: nn.Module, images: Tensor) -> Tensor:
    """What a layer gets when the images go through the model in train mode."""
    with restored(model), capture({"layer": layer}) as seen:
        model.train()
        model(to_input(images, next(model.parameters()).dtype))
    return seen.inputs["layer"]
