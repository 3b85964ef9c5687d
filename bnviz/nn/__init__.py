"""The layers and the network. Reading order: note, base, batchnorm, fused, lenet, variants.

Names are loaded when they are first used (PEP 562), so the registry of variants can be read
without importing torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bnviz.nn.batchnorm import BatchNorm1d, BatchNorm2d
    from bnviz.nn.fused import FusedBatchNorm1d, FusedBatchNorm2d
    from bnviz.nn.lenet import LeNet
    from bnviz.nn.note import NoteBatchNorm
    from bnviz.nn.variants import VARIANTS, Variant

__all__ = [
    "VARIANTS",
    "BatchNorm1d",
    "BatchNorm2d",
    "FusedBatchNorm1d",
    "FusedBatchNorm2d",
    "LeNet",
    "NoteBatchNorm",
    "Variant",
]

_HOME = {
    "BatchNorm1d": "batchnorm",
    "BatchNorm2d": "batchnorm",
    "FusedBatchNorm1d": "fused",
    "FusedBatchNorm2d": "fused",
    "LeNet": "lenet",
    "NoteBatchNorm": "note",
    "VARIANTS": "variants",
    "Variant": "variants",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
