"""``python -m bnviz data``: which images are in use."""

from typing import Annotated

import typer

from bnviz import data
from bnviz.command_line import AsJson, print_result, refusing
from bnviz.i18n import _


def show_data(
    download: Annotated[
        bool,
        typer.Option(
            "--download",
            help=_("Fetch the {count:,} images into the cache folder.").format(
                count=data.TRAINING_IMAGES + data.TEST_IMAGES
            ),
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print which images are in use, their counts and checksum."""
    with refusing():
        dataset = data.fetch() if download else data.load()
    document = {
        **dataset.source,
        "folder": str(dataset.folder),
        "sha256": dataset.sha256,
        "refused": list(dataset.refused),
    }
    print_result(document, as_json, lambda _document: _table(dataset))
    for reason in () if as_json else dataset.refused:
        typer.echo(_("refused {reason}").format(reason=reason), err=True)


def _table(dataset: data.Dataset) -> str:
    """What is in use, in three lines."""
    checksum = _("sha256  {sum} (over the checksums of the {count} files)")
    lines = [
        data.describe(dataset),
        _("folder  {folder}").format(folder=dataset.folder),
        checksum.format(sum=dataset.sha256, count=len(data.FILES)),
    ]
    return "\n".join(lines)
