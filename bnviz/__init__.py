"""bnviz: understand, compare and debug Batch Normalization.

Each kernel room states in its own ``__init__`` what is meant to be used from outside: `bnviz.nn`
(layers and LeNet), `bnviz.records` (stored runs), `bnviz.evaluation` (both modes, population
statistics), `bnviz.census` (what an autograd graph keeps alive), `bnviz.training`, `bnviz.charts`.
"""

__all__ = ["__version__"]
__version__ = "0.1.0"
