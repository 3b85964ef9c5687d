"""Commands on a stored run: ``python -m bnviz modes`` and ``recalibrate``."""

from typing import Annotated, Any

import typer

from bnviz.command_line import AsJson, print_result, refusing
from bnviz.i18n import _
from bnviz.settings import whole
from bnviz.stored_run_cli import CheckpointOption, RunArgument, VariantOption, weights_of_run


def modes(
    run: RunArgument,
    variant: VariantOption = None,
    checkpoint: CheckpointOption = None,
    batch_size: Annotated[
        str | None, typer.Option(help=_("Of train mode, 2 or more; the run's own."))
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print train mode beside eval mode of the same weights on all test images."""
    with refusing():
        size = None if batch_size is None else whole("batch_size", batch_size)
        stored, dataset, document = weights_of_run(run, variant, checkpoint, any_variant=True)
        from bnviz.subjects.modes.mode_report import compare_at

        size = stored.config.batch_size if size is None else size
        document |= compare_at(
            stored, document["variant"], document["step"], batch_size=size, dataset=dataset
        )
    print_result(document, as_json, _modes_table)


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
    batches: Annotated[
        str, typer.Option(help=_("How many batches of training images, 1 or more."))
    ] = "100",
    batch_size: Annotated[str, typer.Option(help=_("Images in a batch, 1 or more."))] = "100",
    variant: VariantOption = None,
    checkpoint: CheckpointOption = None,
    as_json: AsJson = False,
) -> None:
    """Print eval mode before and after its statistics are measured again at frozen weights."""
    with refusing():
        count, size = whole("batches", batches), whole("batch_size", batch_size)
        stored, dataset, document = weights_of_run(run, variant, checkpoint)
        from bnviz.subjects.modes.mode_report import recalibrate_at

        document |= recalibrate_at(
            stored,
            document["variant"],
            document["step"],
            batches=count,
            batch_size=size,
            dataset=dataset,
        )
    print_result(document, as_json, _recalibrated)


def _recalibrated(document: dict[str, Any]) -> str:
    said = _(
        "eval mode {before:.4f}, after {images:,} images at frozen weights {after:.4f}, in {s:.1f} s"
    )
    numbers = {**document["accuracy"], "images": document["images"], "s": document["seconds"]}
    return "{run}, {variant}, step {step}".format(**document) + "\n" + said.format(**numbers)
