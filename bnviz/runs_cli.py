"""``python -m bnviz runs``: the stored runs; verify, rename and delete them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bnviz.command_line import AsJson, print_result, refusing
from bnviz.errors import ConfigError
from bnviz.i18n import _

if TYPE_CHECKING:
    from bnviz.records.store import RunInfo


def runs(
    verify: Annotated[
        bool, typer.Option("--verify", help=_("Read every file and compare it with its checksum."))
    ] = False,
    rename: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="RUN NAME", help=_("Give a run (its id or folder) another name.")),
    ] = None,
    delete: Annotated[
        str | None,
        typer.Option(metavar="RUN", help=_("Delete a run (its id or folder) for good.")),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the stored runs, verify, rename or delete them. Exit status 1 if one is damaged."""
    with refusing():
        done = _change(rename, delete)
    if done and not as_json:
        typer.echo(done)
        return
    rows = _rows(verify)
    print_result(rows, as_json, _table)
    damaged = [sentence for row in rows for sentence in row["damage"] or []]
    for sentence in damaged:
        typer.echo(sentence, err=True)
    if damaged:
        raise typer.Exit(1)


def _change(rename: tuple[str, str] | None, delete: str | None) -> str:
    """Rename or delete a run; returns a sentence that says what was done, "" for nothing."""
    from bnviz.records.store import delete_run, rename_run, run_folder

    if rename and delete:
        raise ConfigError(_("rename, delete: got both; allowed: one of them."))
    if rename:
        folder = run_folder(rename[0])
        rename_run(folder, rename[1])
        return _("{id} is called {name} now.").format(id=folder.name, name=rename[1].strip())
    if delete:
        folder = run_folder(delete)
        delete_run(folder)
        return _("{id} is deleted.").format(id=folder.name)
    return ""


def _rows(verify: bool) -> list[dict[str, Any]]:
    """One document a run, newest first, the recorded one last; `damage` is None if not looked for.

    A run whose settings are damaged is there too, without a name.
    """
    from bnviz.records.store import RECORDED_FOLDER, list_runs, runs_folder

    stored = list_runs(runs_folder())
    recorded = [run for run in list_runs(RECORDED_FOLDER.parent) if run.folder == RECORDED_FOLDER]
    readable = {run.folder for run in stored}
    folders = sorted(file.parent for file in runs_folder().glob("[!.]*/config.json"))
    return [
        *(_row(run.folder, run, verify) for run in stored),
        *(_row(folder, None, verify) for folder in folders if folder not in readable),
        *(_row(run.folder, run, verify) for run in recorded),
    ]


def _row(folder: Path, run: "RunInfo | None", verify: bool) -> dict[str, Any]:
    """What `_rows` says of one run, which is None if its settings are damaged."""
    from bnviz.records.store import damage

    return {
        "id": folder.name,
        "name": run and run.name,
        "folder": str(folder),
        "stored": run and run.modified.isoformat(timespec="seconds"),
        "finished": run and run.finished,
        "checksums": run and run.verified,
        "damage": damage(folder) if verify or run is None else None,
    }


def _table(rows: list[dict[str, Any]]) -> str:
    """The rows for people: id, name, date, how it ended, what is known of its files."""
    states = {True: _("finished"), False: _("cut off"), None: "-"}
    cells = [[_("run"), _("name"), _("stored"), _("state"), _("files")]]
    for row in rows:
        stored = (row["stored"] or "-").replace("T", " ")[:16]
        cells.append([row["id"], row["name"] or "-", stored, states[row["finished"]], _files(row)])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )


def _files(row: dict[str, Any]) -> str:
    if row["damage"]:
        return _("damaged")
    if not row["checksums"]:
        return _("unverified: stored without checksums")
    return _("with checksums") if row["damage"] is None else _("verified")
