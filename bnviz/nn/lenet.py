"""The note's LeNet for 28 x 28 images of one channel, with any kind of normalization."""

import difflib
import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bnviz.nn.layers import LAYERS, POSITIONS, WEIGHT_LAYERS
from bnviz.nn.variants import VARIANTS

ACTIVATIONS: dict[str, type[nn.Module]] = {"sigmoid": nn.Sigmoid, "relu": nn.ReLU}


class Halving(nn.MaxPool2d):
    """`torch.nn.MaxPool2d(2, 2)`: the largest of each 2 x 2 values of (N, C, H, W), H and W even.

    Where no gradient is wanted, on the CPU, the same values come from maxima of slices in a tenth of
    the time (torch's kernel also finds where each maximum stood).
    """

    def __init__(self) -> None:
        super().__init__(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        """The halved (N, C, H / 2, W / 2)."""
        if torch.is_grad_enabled() or not x.is_cpu:
            return super().forward(x)
        rows = torch.maximum(x[:, :, ::2], x[:, :, 1::2])
        return torch.maximum(rows[..., ::2], rows[..., 1::2])


class LeNet(nn.Module):
    """Two convolutions and three linear layers, the norm between each and its activation.

    `norm` is a key of VARIANTS, `activation` one of ACTIVATIONS; `norm_options` go to the
    variant's factory (switches of the note's layer). With ``norm="none"`` an `nn.Identity` stands
    in the norm's place, so module names and shared weights are the same for all variants.

    Raises ValueError for an unknown norm or activation, TypeError for options that the variant
    does not take.
    """

    def __init__(
        self,
        norm: str = "builtin",
        activation: str = "sigmoid",
        *,
        momentum: float | None = 0.1,
        eps: float = 1e-5,
        dtype: torch.dtype | None = None,
        device: Any = None,
        norm_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        _check_choice("norm", norm, VARIANTS)
        _check_choice("activation", activation, ACTIVATIONS)
        self.norm = norm
        self.activation = activation
        place: dict[str, Any] = {"device": device, "dtype": dtype}
        act = ACTIVATIONS[activation]

        def bn(layer: str) -> nn.Module:
            dims = 4 if POSITIONS[layer] > 1 else 2
            return VARIANTS[norm].factory(
                LAYERS[layer], dims, eps=eps, momentum=momentum, **place, **(norm_options or {})
            )

        self.conv = nn.Sequential(  # (N, 1, 28, 28)
            nn.Conv2d(1, 6, 5, **place),  # (N, 6, 24, 24)
            bn("conv1"),
            act(),
            Halving(),  # (N, 6, 12, 12)
            nn.Conv2d(6, 16, 5, **place),  # (N, 16, 8, 8)
            bn("conv2"),
            act(),
            Halving(),  # (N, 16, 4, 4)
        )
        self.fc = nn.Sequential(  # (N, 256)
            nn.Linear(16 * 4 * 4, 120, **place),
            bn("fc1"),
            act(),
            nn.Linear(120, 84, **place),
            bn("fc2"),
            act(),
            nn.Linear(84, 10, **place),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, 10) of images (N, 1, 28, 28)."""
        return self.fc(self.conv(images).flatten(1))

    def norm_layers(self) -> dict[str, nn.Module]:
        """The norm layers (or what stands in their place) in order, by the layer they follow."""
        norms = (self.conv[1], self.conv[5], self.fc[1], self.fc[4])
        return dict(zip(LAYERS, norms, strict=True))

    def weight_layers(self) -> dict[str, nn.Conv2d | nn.Linear]:
        """The convolutions and linear layers in order, by WEIGHT_LAYERS."""
        found = [m for m in self.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        return dict(zip(WEIGHT_LAYERS, found, strict=True))

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw all weights of the convolutions and linear layers from `generator`.

        The same distributions in the same order as torch's constructors, so a generator with
        seed s gives what ``torch.manual_seed(s)`` before building would give, whatever the norm.
        The global generator is not used. Numbers are drawn where the generator lives, then
        copied, so a GPU starts from the same weights. The norm layers are left alone.
        """
        for layer in self.weight_layers().values():
            assert layer.bias is not None
            # kaiming_uniform_ with a = sqrt(5) is U(-1/sqrt(fan_in), 1/sqrt(fan_in)); see
            # torch.nn.Linear.reset_parameters.
            weight = torch.empty_like(layer.weight, device=generator.device)
            bias = torch.empty_like(layer.bias, device=generator.device)
            nn.init.kaiming_uniform_(weight, a=math.sqrt(5), generator=generator)
            bound = 1 / math.sqrt(weight[0].numel())
            nn.init.uniform_(bias, -bound, bound, generator=generator)
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)


def _check_choice(name: str, value: str, allowed: Iterable[str]) -> None:
    choices = list(allowed)
    if value not in choices:
        near = difflib.get_close_matches(str(value), choices, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{name}: got {value!r}; allowed: {', '.join(choices)}{hint}")
