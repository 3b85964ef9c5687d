"""What commands on a stored run share: its name as an argument, its weights and images."""

from typing import Annotated, Any

import typer

from bnviz import data
from bnviz.i18n import _
from bnviz.settings import whole

RUN_HELP = _("The folder of a stored run, the id of one, or recorded.")
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help=RUN_HELP)]
CheckpointOption = Annotated[
    str | None, typer.Option(help=_("A step with stored weights; the last that the record covers."))
]
VariantOption = Annotated[
    str | None, typer.Option(help=_("A variant of the run; its last one with BN."))
]


def weights_of_run(
    name: str, variant: str | None, step: str | None, *, any_variant: bool = False
) -> tuple[Any, data.Dataset, dict[str, Any]]:
    """The run of that name, its images, and where a document says that its numbers are from.

    Without a `step` the newest weights that the record covers are taken; stderr says so where a run
    that was cut off has newer ones. Raises RunError and ConfigError as `find_run` and
    `replayable_step` do.
    """
    from bnviz.records.store import find_run

    stored = find_run(name)
    from bnviz.training import checkpoints

    if not (any_variant and variant in stored.config.variants):
        variant = checkpoints.replayable_variant(stored.config, variant)
    assert variant is not None
    at = _step_of(stored, variant, step)
    dataset = data.load(stored.config.dataset)
    if dataset.is_sample and stored.config.dataset == "fashion-mnist":
        typer.echo(data.describe(dataset), err=True)
    document = {"run": stored.id, "variant": variant, "step": at, "dataset": dataset.source}
    return stored, dataset, document


def _step_of(stored: Any, variant: str, step: str | None) -> int:
    """`step`, or the newest with weights that the record covers, said where there are newer ones."""
    from bnviz.training.checkpoints import replayable_step

    at = replayable_step(stored, variant, None if step is None else whole("step", step))
    if step is None and (newest := stored.checkpoints(variant)[-1]) > at:
        said = _(
            "This run was cut off before the record of step {newest} was stored, so the weights of "
            "step {step} are taken."
        )
        typer.echo(said.format(newest=newest, step=at), err=True)
    return at
