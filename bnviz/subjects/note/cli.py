"""``python -m bnviz quirks``: the ablation, each of the note's quirks measured."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bnviz.command_line import AsJson, progress_bar, refusing
from bnviz.i18n import _
from bnviz.settings import whole, whole_numbers
from bnviz.subjects.note.limits import LOSS_STEPS, MOST_STEPS, SEEDS, STEPS
from bnviz.subjects.note.quirk_settings import NONE
from bnviz.units import MIB

if TYPE_CHECKING:
    import pandas as pd

    from bnviz.subjects.note.ablation import Bench


def quirks(
    seeds: Annotated[
        str, typer.Option(help=_("Seeds of weights and batches, separated by commas."))
    ] = ",".join(map(str, SEEDS)),
    steps: Annotated[
        str,
        typer.Option(
            help=_("Optimizer steps of each run, {least} to {most:,}.").format(
                least=LOSS_STEPS, most=MOST_STEPS
            )
        ),
    ] = str(STEPS),
    settings: Annotated[
        str | None,
        typer.Option(
            help=_("Settings besides none, separated by spaces; by default all of the ablation.")
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train with each of the note's quirks alone, some together, all and none; print what it costs."""
    with refusing():
        numbers, count = whole_numbers("seeds", seeds), whole("steps", steps)
        from bnviz.subjects.note.ablation import SETTINGS, check_bench, run_bench
        from bnviz.training.steps import leave_one_core_free

        leave_one_core_free()
        wanted = SETTINGS if settings is None else dict.fromkeys([NONE, *settings.split()])
        check_bench(numbers, count, wanted)
        with progress_bar(_("runs")) as report_progress:
            bench = run_bench(wanted, numbers, count, report_progress)
    typer.echo(json.dumps(document_of(bench), indent=1) if as_json else table_of(bench))


def document_of(bench: "Bench") -> dict[str, Any]:
    """The document of ``bnviz quirks --json``."""
    from bnviz.subjects.note.ablation import rows_of
    from bnviz.subjects.note.ablation_effects import effects, verdict

    found = effects(bench.frame)
    return {
        **json.loads(bench.to_json()),
        "effects": rows_of(found),
        "verdicts": {
            setting: verdict(found, setting, len(bench.seeds))
            for setting in dict.fromkeys(found["setting"])
        },
    }


def table_of(bench: "Bench") -> str:
    """Means over the seeds of each setting, and a sentence on it."""
    from bnviz.subjects.note.ablation_effects import effects, verdict

    frame, found = bench.frame, effects(bench.frame)
    verdicts = {s: verdict(found, s, len(bench.seeds)) for s in dict.fromkeys(found["setting"])}
    lines = [*_means(frame), "", *(f"{setting}: {said}" for setting, said in verdicts.items())]
    stopped = _("{setting}, seed {seed}: {stopped}")
    early = frame.loc[frame["stopped"] != "", ["setting", "seed", "stopped"]]
    lines += [stopped.format(setting=s, seed=n, stopped=why) for s, n, why in early.to_numpy()]
    done = _("{steps} steps at batch {batch}, seeds {seeds}, {dataset}, in {seconds:.0f} s").format(
        steps=bench.steps, batch=bench.batch_size, seeds=",".join(map(str, bench.seeds)),
        dataset=bench.dataset, seconds=bench.seconds,
    )  # fmt: skip
    return "\n".join([*lines, done])


def _means(frame: "pd.DataFrame") -> list[str]:
    """A line a setting: the means of its seeds."""
    means = frame.drop(columns="stopped").groupby("setting", sort=False).mean()
    width = max(map(len, means.index))
    heads = (_("loss"), _("eval"), _("train"), _("reloaded"), _("MiB"), _("mean drift"), _("ms"))
    lines = [f"{_('quirks on'):<{width}} " + " ".join(f"{head:>10}" for head in heads)]
    for setting, row in means.iterrows():
        cells = (
            f"{row['train_loss']:.4f}", f"{row['eval_accuracy']:.4f}",
            f"{row['train_accuracy']:.4f}", f"{row['reloaded_accuracy']:.4f}",
            f"{row['kept_bytes'] / MIB:.2f}", f"{row['mean_drift']:.3f}", f"{row['ms']:.2f}",
        )  # fmt: skip
        lines.append(f"{setting:<{width}} " + " ".join(f"{cell:>10}" for cell in cells))
    return lines
