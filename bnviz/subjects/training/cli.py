"""``python -m bnviz run``: train variants in lock-step, and print what they came to."""

import json
import signal
import time
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from bnviz import data
from bnviz.command_line import refuse, settings_options
from bnviz.config import PRESETS, RunConfig
from bnviz.errors import BnvizError, ConfigError
from bnviz.i18n import _
from bnviz.settings import Setting


@settings_options(RunConfig, *(name for name in RunConfig.model_fields if name != "quirks"))
def run(
    *,
    preset: Annotated[
        str | None,
        typer.Option(help=_("Start from one of: {names}.").format(names=", ".join(PRESETS))),
    ] = None,
    config: Annotated[Path | None, typer.Option(help=_("Start from a config.json."))] = None,
    as_json: Annotated[bool, typer.Option("--json", help=_("Print one JSON document."))] = False,
    save: Annotated[Path | None, typer.Option(help=_("Store the run in this new folder."))] = None,
    **settings: Any,
) -> None:
    """Train the variants in lock-step and print the results. Ctrl-C stops cleanly."""
    try:
        document = _train(_configure(preset, config, settings), save)
    except BnvizError as error:
        refuse(error)
    typer.echo(json.dumps(document, indent=1) if as_json else _table(document))


def _configure(preset: str | None, file: Path | None, options: dict[str, Any]) -> RunConfig:
    """The config that the options describe: preset or file first, single options on top."""
    if preset is not None and file is not None:
        raise ConfigError(_("preset, config: got both; allowed: one of them."))
    base: dict[str, Any] = {}
    if preset is not None:
        if preset not in PRESETS:
            raise ConfigError(
                _("preset: got {value!r}; allowed: {allowed}.").format(
                    value=preset, allowed=", ".join(PRESETS)
                )
            )
        base = dict(PRESETS[preset].settings)
    if file is not None:
        try:
            base = RunConfig.from_json(file.read_bytes()).model_dump()
        except OSError as error:
            raise ConfigError(
                _("config: {file} cannot be read ({reason}). Give a JSON file.").format(
                    file=file, reason=error.strerror
                )
            ) from error
    given: dict[str, Any] = {
        name: None if value == "none" and Setting.of(RunConfig, name).optional else value
        for name, value in options.items()
    }
    for one, other in (("steps", "epochs"), ("epochs", "steps")):
        if one in given and other not in given:
            base.pop(other, None)
    return RunConfig.parse(**{**base, **given})


def _train(config: RunConfig, save: Path | None) -> dict[str, Any]:
    """Run to the end, or to Ctrl-C, with a progress bar on stderr."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from bnviz.records.store import RunWriter
    from bnviz.training.steps import leave_one_core_free
    from bnviz.training.trainer import Trainer, check

    leave_one_core_free()
    dataset = data.load(config.dataset, download=True)
    if dataset.is_sample and config.dataset == "fashion-mnist":
        typer.echo(data.describe(dataset), err=True)
    with Interruptible() as interrupt:
        began = time.monotonic()
        check(config, dataset)
        writer = None if save is None else RunWriter(save.parent, save.name, config)
        with Trainer(
            config, dataset, history=None if writer is None else writer.history
        ) as trainer:
            if writer is not None:
                trainer.on_checkpoint = writer.checkpoint
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                       TimeRemainingColumn())  # fmt: skip
            with Progress(*columns, console=Console(stderr=True)) as bar:
                task = bar.add_task(_("steps"), total=trainer.total_steps)
                while not trainer.done and not interrupt.asked:
                    trainer.step()
                    bar.update(task, completed=trainer.step_count)
            trainer.finish()
            trainer.checkpoint()
            for name, one in trainer.runs.items():
                if one.stopped:
                    typer.echo(f"{name}: {one.stopped}", err=True)
            document = trainer.summary(time.monotonic() - began)
            if writer is not None:
                writer.finish(document)
                if writer.error:
                    typer.echo(writer.error, err=True)
    return document


class Interruptible:
    """While it lasts, Ctrl-C sets `asked` instead of raising; a second one raises."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> "Interruptible":
        self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *_exception: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


def _table(document: dict[str, Any]) -> str:
    """The document as a small table for people."""
    head = f"{'variant':<10} {'steps':>7} {'ms/step':>8} {'train mode':>11} {'eval mode':>10} {'kept MiB':>9}"
    lines = [head]
    for name, entry in document["variants"].items():
        modes = [
            entry[mode] and f"{entry[mode]['accuracy']:.4f}" for mode in ("train_mode", "eval_mode")
        ]
        lines.append(
            f"{name:<10} {entry['steps']:>7} {entry['ms_per_step'] or 0:>8.2f} {modes[0] or '-':>11} "
            f"{modes[1] or '-':>10} {entry['kept_bytes'] / 2**20:>9.1f}"
        )
    return "\n".join(lines)
