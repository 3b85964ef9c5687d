"""``python -m bnviz memory``: what a loop keeps alive, predicted from shapes and then measured."""

from typing import Annotated, Any

import typer

from bnviz.command_line import AsJson, print_result, progress_bar, refusing, settings_options
from bnviz.i18n import _, listed
from bnviz.nn.variants import VARIANTS
from bnviz.subjects.memory.experiment_config import LeakConfig

MEMORIES_GB = (2, 4, 8, 16, 24)


STEPS = 100
"""Steps of an experiment that nobody watches."""
MEASURED = (
    "batch_size",
    "test_share",
    "keep_graph",
    "test_mode",
    "grad",
    "budget_mib",
    "dataset",
    "device",
)


@settings_options(LeakConfig, *MEASURED, flags={"keep_graph": "--keep-graph/--detach"})
def memory(
    *,
    variant: Annotated[
        str, typer.Option(help=_("Whose layer: {names}.").format(names=", ".join(VARIANTS)))
    ] = "note",
    steps: Annotated[
        str, typer.Option(metavar="NUMBER", help=_("How many steps to measure."))
    ] = str(STEPS),
    as_json: AsJson = False,
    **settings: Any,
) -> None:
    """Print what each step keeps alive, predicted from shapes and measured, by layer and operation."""
    with refusing():
        experiment = _measured(LeakConfig.parse(variants=(variant,), steps=steps, **settings))
    print_result(document(experiment), as_json, _table)


def _measured(config: LeakConfig) -> Any:
    """Run an experiment to its end. Raises ConfigError for a config that cannot end well here."""
    from bnviz.subjects.memory.expectation import check
    from bnviz.subjects.memory.memory_experiment import Experiment
    from bnviz.training.steps import leave_one_core_free

    leave_one_core_free()
    check(config)
    with progress_bar(_("steps")) as report_progress:
        return Experiment(config).run(report_progress)


def document(experiment: Any) -> dict[str, Any]:
    """What ``--json`` prints of an experiment that has ended."""
    from bnviz.census.allocator import UNKNOWN, process_bytes
    from bnviz.subjects.memory.expectation import expected
    from bnviz.subjects.memory.memory_experiment import per_step

    config, measured = experiment.config, per_step(experiment)
    prediction = expected(config, config.variants[0])
    predicted = float(prediction.curve(len(experiment.table), config.test_share)[-1])
    return {
        "variant": config.variants[0],
        **config.model_dump(exclude={"variants"}),
        "steps_done": len(experiment.table),
        "ended": experiment.reason,
        "predicted_bytes_per_step": predicted / len(experiment.table),
        "measured_bytes_per_step": measured["bytes"],
        "nodes_per_step": measured["nodes"],
        "process_bytes_per_step": measured["process"],
        "process_memory": "rss" if process_bytes()["own"] == UNKNOWN else "own",
        "predicted_bytes": prediction.bytes,
        "measured_bytes": {
            "test": measured["bytes_per_test_batch"], "train": measured["bytes_per_training_step"],
        },
        "input_bytes": prediction.input_bytes,
        "full_at_step": {
            f"{gb} GB": prediction.full_at(gb * 1e9, config.test_share) for gb in MEMORIES_GB
        },
        "layers": experiment.per_layer.to_dict("records"),
    }  # fmt: skip


def _table(found: dict[str, Any]) -> str:
    """The document for people."""
    test = found["predicted_bytes"]["test"]
    kept = _(
        "kept a step: {measured_bytes_per_step:,.0f} bytes measured, "
        "{predicted_bytes_per_step:,.0f} predicted; {nodes_per_step:.1f} graph nodes"
    )
    of_a_test = _("kept a test batch: {test:,} bytes predicted, {image:,.0f} an image")
    lines = [
        _("{variant}, batch size {batch_size}, {steps_done} steps. {ended}").format(**found),
        kept.format(**found),
        of_a_test.format(test=test, image=test / found["batch_size"]),
        _("process memory: {process_bytes_per_step:,.0f} bytes a step").format(**found),
    ]
    full = {memory: step for memory, step in found["full_at_step"].items() if step is not None}
    if full:
        steps = listed(f"{memory} {step:,}" for memory, step in full.items())
        lines.append(_("full of these tensors alone at step: {steps}").format(steps=steps))
    rows = [row for row in found["layers"] if row["bytes"]]
    if rows:
        lines += ["", f"{_('layer'):<8} {_('operation'):<30} {_('nodes'):>9} {_('bytes'):>15}"]
        lines += [
            f"{row['layer']:<8} {row['operation']:<30} {row['nodes']:>9,} {row['bytes']:>15,}"
            for row in rows
        ]
    return "\n".join(lines)


if __name__ == "__main__":  # `process_growth` measures each point in a process of its own
    typer.run(memory)
