"""One clock for all variants, observers that never change a run, and what works in the background.

What is meant to be used from outside stands in ``__init__.pyi`` and is loaded when it is first used;
all else may change.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
