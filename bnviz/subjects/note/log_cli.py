"""``python -m bnviz log``: the note's printed log replayed."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bnviz.command_line import AsJson, progress_bar, refusing
from bnviz.i18n import _
from bnviz.settings import whole
from bnviz.subjects.note.limits import MOST_EPOCHS

if TYPE_CHECKING:
    from bnviz.subjects.note.printed_log import Printed, Replay


def log(
    epochs: Annotated[
        str,
        typer.Option(help=_("1 to {most}, about a minute each.").format(most=MOST_EPOCHS)),
    ] = "1",
    seed: Annotated[str, typer.Option(help=_("Of weights and batches."))] = "0",
    loops: Annotated[
        bool, typer.Option("--loops/--no-loops", help=_("Time the note's own loop beside ours."))
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Train as the note did and print its log beside what it should have said."""
    with refusing():
        count, number = whole("epochs", epochs), whole("seed", seed)
        from bnviz.subjects.note.printed_log import check_log, replay_log
        from bnviz.training.steps import leave_one_core_free

        leave_one_core_free()
        check_log(count, number)
        with progress_bar(_("epochs")) as report_progress:
            replay = replay_log(count, report_progress, seed=number, loops=loops)
    typer.echo(json.dumps(document_of(replay), indent=1) if as_json else table_of(replay))


def document_of(replay: "Replay") -> dict[str, Any]:
    """The document of ``bnviz log --json``."""
    from bnviz.subjects.note.printed_log import PRINTED

    document = json.loads(replay.to_json())
    document["epochs"] = document.pop("frame")
    return {**document, "printed": [line._asdict() for line in PRINTED[: len(replay.frame)]]}


def table_of(replay: "Replay") -> str:
    """A line an epoch: the note's beside the replay's."""
    from bnviz.subjects.note.printed_log import LARGE_BATCH, PRINTED

    heads = (
        _("epoch"), _("the note's loss"), _("replayed"), _("mean CE"), _("the note's acc"),
        _("as it measures"), _("batch {n}").format(n=LARGE_BATCH), _("eval mode"), _("note's s"), _("s"),
    )  # fmt: skip
    lines = ["  ".join(heads)]
    for printed, row in zip(PRINTED, replay.frame.to_dict("records"), strict=False):
        cells = zip(_cells(printed, row), heads, strict=True)
        lines.append("  ".join(cell.rjust(len(head)) for cell, head in cells))
    if replay.loops:
        said = _(
            "A step of the note's loop takes {note_ms:.2f} ms here, one of bnviz {own_ms:.2f} ms: "
            "{ratio:.2f} times (median of rounds in turns)"
        )
        lines.append(said.format(**replay.loops))
    return "\n".join(lines)


def _cells(printed: "Printed", row: dict[Any, Any]) -> tuple[str, ...]:
    """An epoch of the note's log and of the replay."""
    return (
        str(printed.epoch), f"{printed.loss:.4f}", f"{row['printed_loss']:.4f}",
        f"{row['mean_loss']:.4f}", f"{printed.accuracy:.4f}", f"{row['note_accuracy']:.4f}",
        f"{row['large_batch_accuracy']:.4f}", f"{row['eval_accuracy']:.4f}",
        f"{printed.seconds:.1f}", f"{row['seconds']:.1f}",
    )  # fmt: skip
