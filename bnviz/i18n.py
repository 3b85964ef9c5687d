"""Every sentence a person reads goes through `_`, standard gettext, English in the code.

A catalogue is a file ``bnviz/locale/<language>/LC_MESSAGES/bnviz.mo``; languages without one
fall back to English. Sentences with numbers are templates with named fields:
``_("step {step} of {total}").format(step=3, total=10)``.
"""

import gettext
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path

LOCALE_DIR = Path(__file__).parent / "locale"

_source: Callable[[], str] = lambda: "en"  # noqa: E731
_chosen: ContextVar[str | None] = ContextVar("language", default=None)


def set_language_source(source: Callable[[], str]) -> None:
    """Register the function that names the reader's language (the app reads it from the URL)."""
    global _source
    _source = source


@contextmanager
def in_language(language: str) -> Iterator[None]:
    """Translate into `language` inside this block, whatever the source says (a request names it)."""
    token = _chosen.set(language)
    try:
        yield
    finally:
        _chosen.reset(token)


@cache
def _catalogue(language: str) -> gettext.NullTranslations:
    return gettext.translation("bnviz", LOCALE_DIR, languages=[language], fallback=True)


def _(message: str) -> str:
    """Translate `message` into the reader's language; English where there is no translation."""
    return _catalogue(_chosen.get() or _source()).gettext(message)


def sentences(*parts: str) -> str:
    """Whole translated sentences after each other; empty ones are left out.

    The only place where messages are joined into running text: a sentence is one message, never
    parts of two.
    """
    return " ".join(filter(None, parts))


def listed(entries: Iterable[str]) -> str:
    """Entries of a list, each a whole message or a name, for a field of a sentence."""
    return "; ".join(entries)


def lines(*parts: str) -> str:
    """Whole translated lines below each other, in a hover box of plotly."""
    return "<br>".join(filter(None, parts))


def N_(message: str) -> str:
    """Mark `message` for translation without translating it yet (for constants)."""
    return message
