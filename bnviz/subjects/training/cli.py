"""``python -m bnviz run``: train variants in lock-step, and print what they came to."""

import signal
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bnviz import data
from bnviz.command_line import AsJson, print_result, progress_bar, refusing, settings_options
from bnviz.config import PRESETS, RunConfig
from bnviz.errors import ConfigError
from bnviz.i18n import _
from bnviz.settings import Setting

if TYPE_CHECKING:
    from bnviz.training.trainer import Trainer


@settings_options(RunConfig, *(name for name in RunConfig.model_fields if name != "quirks"))
def run(
    *,
    preset: Annotated[
        str | None,
        typer.Option(help=_("Start from one of: {names}.").format(names=", ".join(PRESETS))),
    ] = None,
    config: Annotated[Path | None, typer.Option(help=_("Start from a config.json."))] = None,
    as_json: AsJson = False,
    save: Annotated[Path | None, typer.Option(help=_("Store the run in this new folder."))] = None,
    **settings: Any,
) -> None:
    """Train the variants in lock-step and print the results. Ctrl-C stops cleanly."""
    with refusing():
        document = _run(_configure(preset, config, settings), save)
    print_result(document, as_json, _table)


def _configure(preset: str | None, file: Path | None, options: dict[str, str]) -> RunConfig:
    """The config that the options describe: preset or file first, single options on top."""
    base = _starting_point(preset, file)
    given = {
        name: None if value == "none" and Setting.of(RunConfig, name).optional else value
        for name, value in options.items()
    }
    for one, other in (("steps", "epochs"), ("epochs", "steps")):
        if one in given and other not in given:
            base.pop(other, None)
    return RunConfig.parse(**{**base, **given})


def _starting_point(preset: str | None, file: Path | None) -> dict[str, Any]:
    """The settings of a preset or a file. Raises ConfigError for both, and where there is none."""
    if preset is not None and file is not None:
        raise ConfigError(_("preset, config: got both; allowed: one of them."))
    if preset is not None and preset not in PRESETS:
        raise ConfigError(
            _("preset: got {value!r}; allowed: {allowed}.").format(
                value=preset, allowed=", ".join(PRESETS)
            )
        )
    if preset is not None:
        return dict(PRESETS[preset].settings)
    if file is None:
        return {}
    try:
        return RunConfig.from_json(file.read_bytes()).model_dump()
    except OSError as error:
        raise ConfigError(
            _("config: {file} cannot be read ({reason}). Give a JSON file.").format(
                file=file, reason=error.strerror
            )
        ) from error


def _run(config: RunConfig, save: Path | None) -> dict[str, Any]:
    """Run to the end, or to Ctrl-C, and store it where it is to be stored; its summary."""
    from bnviz.records.store import RunWriter
    from bnviz.training.steps import leave_one_core_free
    from bnviz.training.trainer import Trainer, check

    leave_one_core_free()
    dataset = data.load(config.dataset, download=True)
    if dataset.is_sample and config.dataset == "fashion-mnist":
        typer.echo(data.describe(dataset), err=True)
    began = time.monotonic()
    check(config, dataset)
    writer = None if save is None else RunWriter(save.parent, save.name, config)
    history = None if writer is None else writer.history
    with Interruptible() as interrupt, Trainer(config, dataset, history=history) as trainer:
        if writer is not None:
            trainer.on_checkpoint = writer.checkpoint
        _train(trainer, interrupt)
        for name, one in trainer.runs.items():
            if one.stopped:
                typer.echo(f"{name}: {one.stopped}", err=True)
        document = trainer.summary(time.monotonic() - began)
        if writer is not None:
            writer.finish(document)
            if writer.error:
                typer.echo(writer.error, err=True)
    return document


def _train(trainer: "Trainer", interrupt: "Interruptible") -> None:
    """All steps, or those before Ctrl-C, and the evaluation at the end; a bar on stderr."""
    with progress_bar(_("steps")) as report_progress:
        while not trainer.done and not interrupt.asked:
            trainer.step()
            report_progress(trainer.step_count, trainer.total_steps)
    trainer.finish()
    trainer.checkpoint()


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
