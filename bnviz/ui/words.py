"""Numbers in words, the same on every page."""

from bnviz.i18n import _


def size_words(size: float) -> str:
    """Bytes in the unit that suits them."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= factor:
            return f"{size / factor:,.2f} {unit}"
    return _("{n:,.0f} bytes").format(n=size)
