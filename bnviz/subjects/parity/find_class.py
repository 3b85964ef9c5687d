"""The class that a person names on the command line. torch is loaded when their module does, or at the end."""

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnviz.errors import ConfigError
from bnviz.i18n import _

if TYPE_CHECKING:
    from torch import nn


def find_class(name: str, field: str = "class") -> "type[nn.Module]":
    """The class that ``module:Class`` or ``module.Class`` names; the working folder is searched.

    Raises ConfigError if there is no such module or class, or it is no `torch.nn.Module`.
    """
    module_name, found, class_name = name.partition(":")
    if not found:
        module_name, _dot, class_name = name.rpartition(".")
    if not module_name or not class_name:
        raise ConfigError(
            _(
                "{field}: got {name!r}; allowed: module:Class, such as my_layers:MyBatchNorm for "
                "the class MyBatchNorm in my_layers.py of this folder."
            ).format(field=field, name=name)
        )
    here = str(Path.cwd())
    if not {"", here} & set(sys.path):
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # a reader's module may raise anything
        raise ConfigError(
            _(
                "{field}: {module} cannot be imported ({reason}). Run the command in the folder of "
                "{module}.py, and give the name without .py."
            ).format(field=field, module=module_name, reason=f"{type(error).__name__}: {error}")
        ) from error
    cls = getattr(module, class_name, None)
    if cls is None:
        classes = [n for n, v in vars(module).items() if _is_layer(v) and not n.startswith("_")]
        raise ConfigError(
            _("{field}: {module} has no {name}; it has: {names}.").format(
                field=field,
                module=module_name,
                name=class_name,
                names=", ".join(sorted(classes)[:20]) or _("no class of torch.nn.Module"),
            )
        )
    if not _is_layer(cls):
        raise ConfigError(
            _("{field}: {name} is no class of torch.nn.Module. Give one that is.").format(
                field=field, name=name
            )
        )
    return cls


def _is_layer(value: Any) -> bool:
    from torch import nn

    return isinstance(value, type) and issubclass(value, nn.Module)
