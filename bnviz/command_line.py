"""What the commands share: options, a progress bar on stderr, one way to print and one to refuse."""

import inspect
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import wraps
from typing import Annotated, Any, NoReturn

import typer

from bnviz.errors import BnvizError
from bnviz.i18n import _
from bnviz.settings import Setting, Settings
from bnviz.training.tasks import Progress as OnProgress

AsJson = Annotated[bool, typer.Option("--json", help=_("Print one JSON document."))]
METAVARS = {int: "NUMBER", float: "NUMBER", str: "WORD", tuple: "WORDS"}


def settings_options(
    model: type[Settings], *names: str, flags: dict[str, str] | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command one option for each of the fields `names` of `model`, by its schema.

    The command takes them as ``**settings``; those that were not given are left out. `flags` are the
    two names of a switch, where they are not ``--name/--no-name``.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def wrapped(**given: Any) -> None:
            command(**{k: v for k, v in given.items() if k not in names or v is not None})

        own = list(inspect.signature(command).parameters.values())[:-1]
        added = [_option(Setting.of(model, name), (flags or {}).get(name)) for name in names]
        wrapped.__signature__ = inspect.Signature([*added, *own])  # type: ignore[attr-defined]
        return wrapped

    return decorate


def _option(setting: Setting, flags: str | None) -> inspect.Parameter:
    """The option of one setting; its value stays a text, which the schema checks."""
    name = f"--{setting.name.replace('_', '-')}"
    switch = setting.kind is bool
    default = ",".join(setting.default) if setting.kind is tuple else setting.default
    option = typer.Option(
        (flags or f"{name}/--no-{name[2:]}") if switch else name,
        help=_("{label}: {allowed}. {help} Default: {default}.").format(
            label=setting.label,
            allowed=setting.allowed,
            help=setting.help,
            default=str(default).lower(),
        ),
        show_default=False,
        metavar=None if switch else METAVARS[setting.kind],
    )
    return inspect.Parameter(
        setting.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[(bool if switch else str) | None, option],
    )


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
        done = bar.tasks[task].fields["part"].split("/")[-1]
        bar.update(task, completed=1.0, part=f"{done}/{done}" if done else "")


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
