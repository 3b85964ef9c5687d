"""``python -m bnviz data``: which images are in use."""

import json
from typing import Annotated

import typer

from bnviz import data
from bnviz.command_line import refuse
from bnviz.errors import BnvizError
from bnviz.i18n import _


def show_data(
    download: Annotated[
        bool, typer.Option("--download", help="Fetch the 70,000 images into the cache folder.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Print which images are in use, their counts and checksum."""
    try:
        dataset = data.fetch() if download else data.load()
    except BnvizError as error:
        refuse(error)
    document = {
        "name": dataset.name,
        "origin": dataset.origin,
        "folder": str(dataset.folder),
        "train": len(dataset.train_labels),
        "test": len(dataset.test_labels),
        "sha256": dataset.sha256,
        "refused": list(dataset.refused),
    }
    if as_json:
        typer.echo(json.dumps(document, indent=1))
        return
    typer.echo(data.describe(dataset))
    typer.echo(_("folder  {folder}").format(folder=dataset.folder))
    typer.echo(_("sha256  {sum} (over the checksums of the four files)").format(sum=dataset.sha256))
    for reason in dataset.refused:
        typer.echo(_("refused {reason}").format(reason=reason), err=True)
