"""A command on a stored run: ``python -m bnviz replay``."""

from typing import Annotated, Any

import typer

from bnviz.command_line import AsJson, print_result, refusing
from bnviz.i18n import _
from bnviz.stored_run_cli import CheckpointOption, RunArgument, VariantOption, weights_of_run


def replay(
    run: RunArgument,
    momentum: Annotated[
        str,
        typer.Option(
            help=_("Comma-separated: weights of the new batch (0 to 1), none, population.")
        ),
    ] = "0.9,0.5,0.1,0.03,0.01,none,population",
    variant: VariantOption = None,
    step: CheckpointOption = None,
    as_json: AsJson = False,
) -> None:
    """Print what eval mode would have come to at other momenta, from the record of a run."""
    with refusing():
        document = _replay(run, momentum, variant, step)
    print_result(document, as_json, _estimator_table)


def _replay(name: str, momentum: str, variant: str | None, step: str | None) -> dict[str, Any]:
    """The document of ``bnviz replay --json``."""
    stored, dataset, document = weights_of_run(name, variant, step)
    from bnviz.training import checkpoints

    estimators = checkpoints.parse_estimators(momentum)
    found = checkpoints.compare_estimators(
        stored, document["variant"], estimators, step=document["step"], dataset=dataset
    )
    return {**document, "estimators": found}


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
