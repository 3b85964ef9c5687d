"""Commands on a stored run: ``python -m bnviz replay``, ``modes``, ``recalibrate``."""

import json
from typing import Annotated, Any

import typer

from bnviz import data
from bnviz.commands import refuse
from bnviz.config import whole
from bnviz.errors import BnvizError
from bnviz.i18n import _

RunArgument = Annotated[
    str,
    typer.Argument(metavar="RUN", help="The folder of a stored run, the id of one, or recorded."),
]
CheckpointOption = Annotated[str | None, typer.Option(help="A step with stored weights; the last.")]


def replay(
    run: RunArgument,
    momentum: Annotated[
        str, typer.Option(help="Comma-separated: weights of the new batch, none, population.")
    ] = "0.9,0.5,0.1,0.03,0.01,none,population",
    variant: Annotated[
        str | None, typer.Option(help="Whose record; the last with running statistics.")
    ] = None,
    step: Annotated[str | None, typer.Option(help="A step with stored weights; the last.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Print what eval mode would have come to at other momenta, from the record of a run."""
    try:
        document = _replay(run, momentum, variant, step)
    except BnvizError as error:
        refuse(error)
    typer.echo(json.dumps(document, indent=1) if as_json else _estimator_table(document))


def _replay(name: str, momentum: str, variant: str | None, step: str | None) -> dict[str, Any]:
    """The document of ``bnviz replay --json``."""
    from bnviz.train import replays

    estimators = replays.parse_estimators(momentum)
    stored, dataset, document = _weights(name, variant, step)
    found = replays.compare_estimators(
        stored, document["variant"], estimators, step=document["step"], dataset=dataset
    )
    return {**document, "estimators": found}


def _weights(
    name: str, variant: str | None, step: str | None, *, any_variant: bool = False
) -> tuple[Any, data.Dataset, dict[str, Any]]:
    """The run of that name, its images, and where a document says that its numbers are from."""
    from bnviz.train import replays
    from bnviz.train.store import find_run

    stored = find_run(name)
    if not (any_variant and variant in stored.config.variants):
        variant = replays.replayable_variant(stored.config, variant)
    assert variant is not None
    at = replays.replayable_step(stored, variant, None if step is None else whole("step", step))
    dataset = data.load(stored.config.dataset)
    if dataset.is_sample and stored.config.dataset == "fashion-mnist":
        typer.echo(data.describe(dataset), err=True)
    return (
        stored,
        dataset,
        {
            "run": stored.id,
            "variant": variant,
            "step": at,
            "dataset": {
                "name": dataset.name,
                "origin": dataset.origin,
                "train": len(dataset.train_labels),
                "test": len(dataset.test_labels),
            },
        },
    )


def _estimator_table(document: dict[str, Any]) -> str:
    """The estimators as a small table for people."""
    lines = [
        _("{run}, {variant}, step {step}").format(**document),
        f"{'momentum':<10} {'accuracy':>9} {'mean error':>11} {'var error':>10}",
    ]
    for entry in document["estimators"]:
        errors = [
            "-" if entry[k] is None else f"{entry[k]:.4f}" for k in ("mean_error", "var_error")
        ]
        lines.append(
            f"{entry['momentum']!s:<10} {entry['accuracy']:>9.4f} {errors[0]:>11} {errors[1]:>10}"
        )
    return "\n".join(lines)


def modes(
    run: RunArgument,
    variant: Annotated[str | None, typer.Option(help="Whose weights; the last with BN.")] = None,
    checkpoint: CheckpointOption = None,
    batch_size: Annotated[str | None, typer.Option(help="Of train mode; the run's own.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Print train mode beside eval mode of the same weights on all test images."""
    from bnviz.train.both_modes import compare_at

    try:
        stored, dataset, document = _weights(run, variant, checkpoint, any_variant=True)
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
    batches: Annotated[str, typer.Option(help="So many batches of training images.")] = "100",
    batch_size: Annotated[str, typer.Option(help="Images in a batch.")] = "100",
    variant: Annotated[str | None, typer.Option(help="Whose weights; the last with BN.")] = None,
    checkpoint: CheckpointOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Print eval mode before and after its statistics are measured anew at frozen weights."""
    from bnviz.train.both_modes import recalibrate_at

    try:
        stored, dataset, document = _weights(run, variant, checkpoint)
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
