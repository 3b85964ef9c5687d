"""bnviz: understand, compare and debug Batch Normalization."""

__version__ = "0.1.0"
