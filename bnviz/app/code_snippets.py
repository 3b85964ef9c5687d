"""Lines of this project's own code for a page, read from the file itself so that they cannot disagree."""

import inspect
import textwrap
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from types import ModuleType


@dataclass(frozen=True)
class Snippet:
    """Some lines of a file."""

    text: str
    place: str
    """File and line number of the first."""


@cache
def code_of(module: ModuleType, names: tuple[str, ...], starts: tuple[str, ...], sign: str) -> str:
    """Functions and methods of `module` whole, `sign` before the lines that begin with one of `starts`.

    A method is named ``Class.method``. Raises AttributeError for a name that the module has not.
    """
    parts = [textwrap.dedent(inspect.getsource(attrgetter(name)(module))) for name in names]
    lines = "\n".join(parts).splitlines()
    return "\n".join(
        f"{sign if starts and line.strip().startswith(starts) else ' '} {line}" for line in lines
    )


@cache
def lines_of(module: ModuleType, *starts: str) -> Snippet:
    """The first line of `module` that begins with each of `starts`, indentation aside.

    Raises LookupError for a beginning that no line has.
    """
    found = []
    lines = inspect.getsource(module).splitlines()
    for start in starts:
        number = next((k for k, line in enumerate(lines) if line.strip().startswith(start)), None)
        if number is None:
            raise LookupError(f"{module.__name__} has no line that begins with {start!r}")
        found.append((number + 1, lines[number].strip()))
    file = module.__name__.replace(".", "/") + ".py"
    return Snippet("\n".join(line for _number, line in found), f"{file}:{found[0][0]}")
