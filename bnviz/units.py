"""Units that every room measures in."""

from bnviz.i18n import _

KIB = 2**10
MIB = 2**20
"""Bytes."""
EXACT_MINUTES = 10
"""Minutes from which the seconds are left out."""


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return _("{seconds:.0f} s").format(seconds=seconds)
    if minutes < EXACT_MINUTES and rest:
        return _("{minutes} min {seconds} s").format(minutes=minutes, seconds=rest)
    return _("{minutes:.0f} min").format(minutes=seconds / 60)
