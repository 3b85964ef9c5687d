"""Commands on a stored run: ``python -m bnviz modes`` and ``recalibrate``."""

import json
from typing import Annotated, Any

import typer

from bnviz.command_line import refuse
from bnviz.errors import BnvizError
from bnviz.i18n import _
from bnviz.settings import whole
from bnviz.stored_run_cli import CheckpointOption, RunArgument, weights_of_run


def modes(
    run: RunArgument,
    variant: Annotated[str | None, typer.Option(help="Whose weights; the last with BN.")] = None,
    checkpoint: CheckpointOption = None,
    batch_size: Annotated[str | None, typer.Option(help="Of train mode; the run's own.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Print train mode beside eval mode of the same weights on all test images."""
    from bnviz.subjects.modes.mode_report import compare_at

    try:
        stored, dataset, document = weights_of_run(run, variant, checkpoint, any_variant=True)
        size = stored.config.batch_size if batch_size is None else whole("batch_size", batch_size)
        document |= compare_at(
            stored, document["variant"], document["step"], batch_size=size, dataset=dataset
        )
    except BnvizError as error:
        refuse(error)
    typer.echo(json.dumps(document, indent=1) if as_json else _modes_table(document))


def _modes_table(document: dict[str, Any]) -> str:
    accuracy, error, pairs = (document[k] for k in ("accuracy", "standard_error", "pairs"))
    lines = [
        "{run}, {variant}, step {step}".format(**document),
        *(f"{mode + ' mode':<12}{accuracy[mode]:>9.4f} ± {error[mode]:.4f}" for mode in accuracy),
        _("right: both {both}, only train mode {only_train}, only eval mode {only_eval}, none {none}")
        .format(**pairs),
        *(
            _("{layer:<8}train mode is {drift:.3f} standard deviations from eval mode").format(
                layer=layer, drift=drift
            )
            for layer, drift in document["drift"].items()
        ),
    ]  # fmt: skip
    return "\n".join(lines)


def recalibrate(
    run: RunArgument,
    batches: Annotated[str, typer.Option(help="How many batches of training images.")] = "100",
    batch_size: Annotated[str, typer.Option(help="Images in a batch.")] = "100",
    variant: Annotated[str | None, typer.Option(help="Whose weights; the last with BN.")] = None,
    checkpoint: CheckpointOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Print eval mode before and after its statistics are measured again at frozen weights."""
    from bnviz.subjects.modes.mode_report import recalibrate_at

    try:
        stored, dataset, document = weights_of_run(run, variant, checkpoint)
        document |= recalibrate_at(
            stored,
            document["variant"],
            document["step"],
            batches=whole("batches", batches),
            batch_size=whole("batch_size", batch_size),
            dataset=dataset,
        )
    except BnvizError as error:
        refuse(error)
    if as_json:
        typer.echo(json.dumps(document, indent=1))
        return
    accuracy = document["accuracy"]
    typer.echo("{run}, {variant}, step {step}".format(**document))
    typer.echo(
        _("eval mode {before:.4f}, after {images:,} images at frozen weights {after:.4f}, in {s:.1f} s")
        .format(**accuracy, images=document["images"], s=document["seconds"])
    )  # fmt: skip
