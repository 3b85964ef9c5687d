"""What can go wrong, in one tree, and the checks of bad input that many rooms make.

::

    BnvizError
    ├── ConfigError     a setting is out of range or unknown (also a ValueError)
    ├── DataError       the images cannot be read
    └── RunError        a stored run cannot be opened, written or deleted
"""

from collections.abc import Iterable

from bnviz.i18n import _


class BnvizError(Exception):
    """Base of every error that is meant for the user: one line, with the remedy."""


class ConfigError(BnvizError, ValueError):
    """A setting is out of range or unknown; the message names field, value and what is allowed."""


class DataError(BnvizError):
    """The images cannot be read; the message names the file and the remedy."""


class RunError(BnvizError):
    """A stored run cannot be opened, written or deleted; the message names it and the remedy."""


def check_choice(name: str, value: object, allowed: Iterable[str]) -> None:
    """Refuse a `value` that is none of those allowed. Raises ConfigError."""
    names = list(allowed)
    if value not in names:
        raise ConfigError(
            _("{name}: got {value!r}; allowed: {allowed}.").format(
                name=name, value=value, allowed=", ".join(names)
            )
        )


def check_share(name: str, value: float) -> None:
    """Refuse a `value` outside 0 to 1. Raises ConfigError."""
    if not 0 <= value <= 1:
        raise ConfigError(_("{name}: got {value}; allowed: 0 to 1.").format(name=name, value=value))


def check_least(name: str, value: int, least: int) -> None:
    """Refuse a `value` below `least`. Raises ConfigError."""
    if value < least:
        raise ConfigError(
            _("{name}: got {value}; allowed: {least} or more.").format(
                name=name, value=value, least=least
            )
        )
