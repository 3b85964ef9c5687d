"""The commands of ``python -m bnviz``; `bnviz.cli` puts them together."""

from typing import NoReturn

import typer

from bnviz.errors import BnvizError
from bnviz.i18n import _


def refuse(error: BnvizError) -> NoReturn:
    """Say what is wrong in one line on stderr, and end with status 2."""
    typer.echo(_("Error: {error}").format(error=error), err=True)
    raise typer.Exit(2)
