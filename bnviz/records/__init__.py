"""A run is a folder: what is recorded, how it is stored, and what charts and replays read of it. No torch.

What is meant to be used from outside stands in ``__init__.pyi`` and is loaded when it is first used;
all else may change.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
