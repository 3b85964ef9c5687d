"""The command line, ``python -m bnviz``: the commands of the subjects put together.

Results go to stdout, progress and messages to stderr. Exit status: 0 done, 2 bad input, 1 anything
else that went wrong, or a layer that differs.
"""

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from bnviz import __version__
from bnviz.data_cli import show_data
from bnviz.figure_cli import figure
from bnviz.i18n import _
from bnviz.runs_cli import runs
from bnviz.subjects.memory.cli import memory
from bnviz.subjects.modes.cli import modes, recalibrate
from bnviz.subjects.note.cli import quirks
from bnviz.subjects.note.log_cli import log
from bnviz.subjects.parity.cli import check, parity
from bnviz.subjects.running_stats.cli import replay
from bnviz.subjects.training.cli import run

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help=_("Watch Batch Normalization work. The app itself: streamlit run app.py"),
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bnviz {__version__}")
        raise typer.Exit


@app.callback()
def top(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help=_("Print the version.")),
    ] = False,
) -> None:
    """Watch Batch Normalization work."""


COMMANDS: dict[str, Callable[..., None]] = {
    "data": show_data,
    "figure": figure,
    "run": run,
    "runs": runs,
    "replay": replay,
    "modes": modes,
    "recalibrate": recalibrate,
    "memory": memory,
    "parity": parity,
    "check": check,
    "quirks": quirks,
    "log": log,
}
for name, command in COMMANDS.items():
    app.command(name, help=_(command.__doc__ or ""))(command)


def main() -> None:
    """Entry point of the ``bnviz`` script."""
    try:
        status = app(standalone_mode=False)
    except typer.TyperException as error:  # an option that there is not, a value left out
        if said := error.format_message():  # without a command the help was printed
            typer.echo(_("Error: {error}").format(error=said), err=True)
        status = 2
    except typer.Abort:
        status = 1
    sys.exit(status)
