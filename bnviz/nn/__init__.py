"""The layers and the network. Reading order: note, base, batchnorm, fused, lenet, variants.

Names are loaded when they are first used, so the registry of variants can be read without importing
torch. What is meant to be used from outside stands in ``__init__.pyi``; all else may change.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
