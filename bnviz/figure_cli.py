"""``python -m bnviz figure``: the number behind each figure of a page, on the command line."""

import json
from pathlib import Path
from typing import Annotated

import typer

from bnviz import figures
from bnviz.charts.card import Card, encode_card
from bnviz.charts.encoding import frame_of
from bnviz.charts.registry import FIGURES, NotReady, figure_named
from bnviz.command_line import refuse, refusing
from bnviz.errors import ConfigError, RunError
from bnviz.i18n import _
from bnviz.records.store import find_run
from bnviz.selection import Selection, check_names
from bnviz.stored_run_cli import RUN_HELP
from bnviz.training.run_view import RunView


def figure(
    name: Annotated[str, typer.Argument(help=_("Subject and figure, as --list has them."))] = "",
    run: Annotated[str, typer.Option(help=RUN_HELP)] = "recorded",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", help=_("A parameter that the figure needs, as layer=fc1.")),
    ] = None,
    show_list: Annotated[
        bool, typer.Option("--list", help=_("Print all figures and what they need."))
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help=_("Print the card as JSON."))] = False,
    csv: Annotated[Path | None, typer.Option(help=_("Write its data as CSV."))] = None,
    html: Annotated[Path | None, typer.Option(help=_("Write it as a page of its own."))] = None,
) -> None:
    """Print a figure of a page: its title, what it says, and its data where you want it."""
    figures.load()
    if show_list or not name:
        typer.echo(_list())
        return
    try:
        with refusing():
            card = _draw(name, run, settings or [])
    except NotReady as waiting:
        refuse(RunError(waiting.text))
    if as_json:
        typer.echo(json.dumps(encode_card(card)))
        return
    typer.echo(f"{card.title}\n{card.sentence}")
    _write(card, csv, html)


def _list() -> str:
    """A line a figure: its name, its title and what it needs."""
    entries = sorted(FIGURES.values(), key=lambda entry: entry.name)
    return "\n".join(f"{e.name:<34} {_(e.title)}  [{', '.join(e.needs)}]" for e in entries)


def _write(card: Card, csv: Path | None, html: Path | None) -> None:
    """Store the data of a figure, or the figure as a page, where that was asked for."""
    if csv is not None:
        frame_of(card.figure).to_csv(csv, index=False)
    if html is not None:
        import plotly.graph_objects as go

        go.Figure(card.figure).update_layout(title=card.title).write_html(html)


def _draw(name: str, run: str, settings: list[str]) -> Card:
    """The figure of a stored run. Raises BnvizError for anything that there is not, and NotReady."""
    entry, query = figure_named(name), dict(_pair(text) for text in settings)
    check_names(query, entry.needs)
    stored = find_run(run)
    view = RunView(stored.id, stored)
    if reason := entry.applies(view):
        raise RunError(reason)
    return entry.draw(view, Selection.from_query(query))


def _pair(text: str) -> tuple[str, str]:
    """``layer=fc1`` as name and value. Raises ConfigError for anything else."""
    name, sign, value = text.partition("=")
    if not sign:
        raise ConfigError(
            _("--set: got {text!r}; allowed: a name and a value, as layer=fc1.").format(text=text)
        )
    return name, value
