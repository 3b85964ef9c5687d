"""The kinds of normalization that can be compared: one entry each, read by everything else.

To add one, write a factory and an entry of VARIANTS (and a colour in the theme). This module
does not import torch; the factories do when they are called.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bnviz.i18n import N_

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Variant:
    """One kind of normalization.

    ``factory(num_features, num_dims, *, eps, momentum, device, dtype, **options)`` makes a layer
    for (N, C) if `num_dims` is 2, for (N, C, H, W) if it is 4; it raises TypeError for options
    that it does not know.
    """

    key: str
    label: str
    sentence: str
    factory: Callable[..., nn.Module]
    hand_written: bool = True
    """Whether the layer is this project's code rather than torch's."""
    normalizes: bool = True
    """Whether it has batch statistics and running statistics."""
    agrees: bool = True
    """Whether it does what `torch.nn.BatchNorm2d` does, its refusal of single values included."""


def _note(num_features: int, num_dims: int, **options: Any) -> nn.Module:
    from bnviz.nn.note import NoteBatchNorm

    return NoteBatchNorm(num_features, num_dims, **options)


def _composite(num_features: int, num_dims: int, **settings: Any) -> nn.Module:
    from bnviz.nn.batchnorm import BatchNorm1d, BatchNorm2d

    return _by_dims(num_dims, BatchNorm1d, BatchNorm2d)(num_features, **_only_common(settings))


def _fused(num_features: int, num_dims: int, **settings: Any) -> nn.Module:
    from bnviz.nn.fused import FusedBatchNorm1d, FusedBatchNorm2d

    kind = _by_dims(num_dims, FusedBatchNorm1d, FusedBatchNorm2d)
    return kind(num_features, **_only_common(settings))


def _builtin(num_features: int, num_dims: int, **settings: Any) -> nn.Module:
    from torch import nn

    kind = _by_dims(num_dims, nn.BatchNorm1d, nn.BatchNorm2d)
    return kind(num_features, **_only_common(settings))


def _none(num_features: int, num_dims: int, **settings: Any) -> nn.Module:
    from torch import nn

    _only_common(settings)
    return _by_dims(num_dims, nn.Identity, nn.Identity)()


def _by_dims(num_dims: int, flat: Any, spatial: Any) -> Any:
    if num_dims not in (2, 4):
        raise ValueError(f"num_dims: got {num_dims}; allowed: 2 for (N, C), 4 for (N, C, H, W)")
    return flat if num_dims == 2 else spatial


def _only_common(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings, if every kind of layer has them. Raises TypeError naming the first other."""
    common = ("eps", "momentum", "device", "dtype")
    for name in settings:
        if name not in common:
            raise TypeError(
                f"option {name!r}: only the variant 'note' takes options; "
                f"allowed here: {', '.join(common)}"
            )
    return settings


_ENTRIES = (
    Variant(
        key="note",
        label=N_("Note's BN"),
        sentence=N_("The learner's layer with its oddities, each of which can be switched off."),
        factory=_note,
        agrees=False,
    ),
    Variant(
        key="composite",
        label=N_("Hand-written BN"),
        sentence=N_("Written out in separate torch operations; autograd derives the gradient."),
        factory=_composite,
    ),
    Variant(
        key="fused",
        label=N_("Fused BN"),
        sentence=N_("Hand-written with its gradient in closed form: it keeps less for backward."),
        factory=_fused,
    ),
    Variant(
        key="builtin",
        label=N_("nn.BatchNorm"),
        sentence=N_("PyTorch's own layer, untouched: the reference."),
        factory=_builtin,
        hand_written=False,
    ),
    Variant(
        key="none",
        label=N_("No BN"),
        sentence=N_("The same network without Batch Normalization."),
        factory=_none,
        hand_written=False,
        normalizes=False,
        agrees=False,
    ),
)
VARIANTS: dict[str, Variant] = {variant.key: variant for variant in _ENTRIES}
