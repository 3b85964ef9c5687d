"""What the commands share: an option, a progress bar on stderr, one way to print and to refuse."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Annotated, Any, NoReturn

import typer

from bnviz.errors import BnvizError
from bnviz.i18n import _
from bnviz.training.tasks import Progress as OnProgress

AsJson = Annotated[bool, typer.Option("--json", help=_("Print one JSON document."))]


@contextmanager
def progress_bar(what: str) -> Iterator[OnProgress]:
    """A bar on stderr that goes by the share of the work that is done."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"), BarColumn(),
        TextColumn("{task.fields[part]}"), TimeRemainingColumn(),
    )  # fmt: skip
    with redirect_stdout(sys.stderr), Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=1.0, part="")

        def report_progress(done: int, parts: int, share: float | None = None) -> None:
            share = done / max(parts, 1) if share is None else share
            bar.update(task, completed=share, part=f"{done}/{parts}")

        yield report_progress
        bar.update(task, completed=1.0)


def refuse(error: BnvizError) -> NoReturn:
    """Say what is wrong in one line on stderr, and end with status 2."""
    typer.echo(_("Error: {error}").format(error=error), err=True)
    raise typer.Exit(2)


@contextmanager
def refusing() -> Iterator[None]:
    """While it lasts, a BnvizError ends the command as `refuse` does."""
    try:
        yield
    except BnvizError as error:
        refuse(error)


def print_result(result: Any, as_json: bool, table: Callable[[Any], str]) -> None:
    """Print a result on stdout, as JSON or as the `table` that is made of it."""
    typer.echo(json.dumps(result, indent=1) if as_json else table(result))
