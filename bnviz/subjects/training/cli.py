"""``python -m bnviz run``: train variants in lock-step, and print what they came to."""

import json
import signal
import time
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from bnviz import data
from bnviz.command_line import refuse
from bnviz.config import PRESETS, RunConfig
from bnviz.errors import BnvizError, ConfigError
from bnviz.i18n import _


def run(
    preset: Annotated[
        str | None, typer.Option(help=f"Start from one of: {', '.join(PRESETS)}.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Start from a config.json.")] = None,
    dataset: Annotated[
        str | None, typer.Option(help="fashion-mnist or fashion-mnist-sample.")
    ] = None,
    variants: Annotated[
        str | None, typer.Option(help="Comma-separated: note, composite, fused, builtin, none.")
    ] = None,
    activation: Annotated[str | None, typer.Option(help="sigmoid or relu.")] = None,
    batch_size: Annotated[str | None, typer.Option(help="1 to 4096.")] = None,
    epochs: Annotated[str | None, typer.Option(help="Passes over the training images.")] = None,
    steps: Annotated[str | None, typer.Option(help="Optimizer steps, instead of epochs.")] = None,
    lr: Annotated[str | None, typer.Option(help="Learning rate.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="adam or sgd.")] = None,
    momentum: Annotated[
        str | None, typer.Option(help="Weight of the new batch, 0 to 1, or none.")
    ] = None,
    eps: Annotated[str | None, typer.Option(help="Added to the variance.")] = None,
    seed: Annotated[str | None, typer.Option(help="Of weights and batches.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32 or float64.")] = None,
    memory_limit_mib: Annotated[
        str | None, typer.Option(help="Stop a variant that keeps more alive.")
    ] = None,
    eval_every: Annotated[str | None, typer.Option(help="Steps between evaluations.")] = None,
    gradients: Annotated[
        bool | None,
        typer.Option(
            "--gradients/--no-gradients", help="Record gradients and updates of each layer."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    save: Annotated[Path | None, typer.Option(help="Store the run in this new folder.")] = None,
) -> None:
    """Train the variants in lock-step and print the results. Ctrl-C stops cleanly."""
    options = {
        "dataset": dataset,
        "variants": variants,
        "activation": activation,
        "batch_size": batch_size,
        "epochs": epochs,
        "steps": steps,
        "lr": lr,
        "optimizer": optimizer,
        "momentum": momentum,
        "eps": eps,
        "seed": seed,
        "device": device,
        "dtype": dtype,
        "memory_limit_mib": memory_limit_mib,
        "eval_every": eval_every,
        "gradients": gradients,
    }
    given = {name: value for name, value in options.items() if value is not None}
    try:
        document = _train(_configure(preset, config, given), save)
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
    given: dict[str, Any] = dict(options)
    if given.get("momentum") == "none":
        given["momentum"] = None
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
