"""The command line, called within the process."""

from typer.testing import CliRunner

from bnviz.cli import app


def bnviz(*arguments):
    """`python -m bnviz` with these arguments: its exit code and what it printed."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])
