"""The figures of all subjects put together, as `bnviz.cli` does with their commands."""

from importlib import import_module
from pkgutil import iter_modules

from bnviz import subjects


def load() -> None:
    """Register every figure: those of the files ``*_figures.py`` of each subject. No torch is loaded."""
    for subject in iter_modules(subjects.__path__, f"{subjects.__name__}."):
        package = import_module(subject.name)
        for module in iter_modules(package.__path__, f"{subject.name}."):
            if module.name.endswith("_figures"):
                import_module(module.name)
