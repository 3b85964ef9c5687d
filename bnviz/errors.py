"""What can go wrong, in one tree.

::

    BnvizError
    ├── ConfigError     a setting is out of range or unknown (also a ValueError)
    ├── DataError       the images cannot be read
    └── RunError        a stored run cannot be opened, written or deleted
"""


class BnvizError(Exception):
    """Base of every error that is meant for the user: one line, with the remedy."""


class ConfigError(BnvizError, ValueError):
    """A setting is out of range or unknown; the message names field, value and what is allowed."""


class DataError(BnvizError):
    """The images cannot be read; the message names the file and the remedy."""


class RunError(BnvizError):
    """A stored run cannot be opened, written or deleted; the message names it and the remedy."""
