"""``python -m bnviz figure``: the number behind each figure of a page, on the command line."""

import json
from pathlib import Path
from typing import Annotated

import typer

from bnviz import figures
from bnviz.charts.card import Card, encode_card
from bnviz.charts.encoding import frame_of
from bnviz.charts.registry import FIGURES, NotReady, figure_named
from bnviz.command_line import refuse
from bnviz.errors import BnvizError, ConfigError, RunError
from bnviz.i18n import _
from bnviz.records.store import find_run
from bnviz.selection import Selection, check_names
from bnviz.training.run_view import RunView


def figure(
    name: Annotated[str, typer.Argument(help="Subject and figure, as --list has them.")] = "",
    run: Annotated[
        str, typer.Option(help="The folder of a stored run, the id of one, or recorded.")
    ] = "recorded",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", help="A parameter that the figure needs, as layer=fc1."),
    ] = None,
    show_list: Annotated[
        bool, typer.Option("--list", help="Print all figures and what they need.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the card as JSON.")] = False,
    csv: Annotated[Path | None, typer.Option(help="Write its data as CSV.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write it as a page of its own.")] = None,
) -> None:
    """Print a figure of a page: its title, what it says, and its data where you want it."""
    figures.load()
    if show_list or not name:
        for entry in sorted(FIGURES.values(), key=lambda entry: entry.name):
            typer.echo(f"{entry.name:<34} {_(entry.title)}  [{', '.join(entry.needs)}]")
        return
    try:
        card = _draw(name, run, settings or [])
    except NotReady as waiting:
        refuse(RunError(waiting.text))
    except BnvizError as error:
        refuse(error)
    if as_json:
        typer.echo(json.dumps(encode_card(card)))
        return
    typer.echo(f"{card.title}\n{card.sentence}")
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
