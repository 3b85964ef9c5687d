"""The command line: ``python -m bnviz run``, ``replay``, ``modes``, ``recalibrate``, ``data``.

``memory``, ``parity``, ``check``, ``quirks`` and ``log`` stand in `bnviz.commands`. Results go to stdout, progress
and messages to stderr. Exit status: 0 done, 2 bad input, 1 anything else that went wrong, or a layer that differs.
"""

import json
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from bnviz import __version__, data
from bnviz.commands import log, memory, parity, quirks
from bnviz.commands import refuse as _refuse
from bnviz.commands.showing import whole
from bnviz.config import PRESETS, RunConfig
from bnviz.errors import BnvizError, ConfigError
from bnviz.i18n import _

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Watch Batch Normalization work. The app itself: streamlit run app.py",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bnviz {__version__}")
        raise typer.Exit


@app.callback()
def top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Watch Batch Normalization work."""


@app.command("data")
def show_data(
    download: Annotated[
        bool, typer.Option("--download", help="Fetch the 70,000 images into the cache folder.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Print which images are in use, their counts and checksum."""
    try:
        dataset = data.fetch() if download else data.load()
    except BnvizError as error:
        _refuse(error)
    document = {
        "name": dataset.name,
        "origin": dataset.origin,
        "folder": str(dataset.folder),
        "train": len(dataset.train_labels),
        "test": len(dataset.test_labels),
        "sha256": dataset.sha256,
        "refused": list(dataset.refused),
    }
    if as_json:
        typer.echo(json.dumps(document, indent=1))
        return
    typer.echo(data.describe(dataset))
    typer.echo(_("folder  {folder}").format(folder=dataset.folder))
    typer.echo(_("sha256  {sum} (over the checksums of the four files)").format(sum=dataset.sha256))
    for reason in dataset.refused:
        typer.echo(_("refused {reason}").format(reason=reason), err=True)


@app.command()
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
    """Train the variants in lock-step and print what they came to. Ctrl-C stops cleanly."""
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
        _refuse(error)
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

    from bnviz.train.steps import leave_one_core_free
    from bnviz.train.store import RunWriter
    from bnviz.train.trainer import Trainer, check

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


RunArgument = Annotated[
    str,
    typer.Argument(metavar="RUN", help="The folder of a stored run, the id of one, or recorded."),
]
CheckpointOption = Annotated[str | None, typer.Option(help="A step with stored weights; the last.")]


@app.command()
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
        _refuse(error)
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
    at = replays.replayable_step(stored, variant, _whole_number("step", step))
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


@app.command()
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
        size = _whole_number("batch_size", batch_size)
        size = stored.config.batch_size if size is None else size
        document |= compare_at(
            stored, document["variant"], document["step"], batch_size=size, dataset=dataset
        )
    except BnvizError as error:
        _refuse(error)
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


@app.command("recalibrate")
def recalibrate_run(
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
            batches=int(_whole_number("batches", batches) or 0),
            batch_size=int(_whole_number("batch_size", batch_size) or 0),
            dataset=dataset,
        )
    except BnvizError as error:
        _refuse(error)
    if as_json:
        typer.echo(json.dumps(document, indent=1))
        return
    accuracy = document["accuracy"]
    typer.echo("{run}, {variant}, step {step}".format(**document))
    typer.echo(
        _("eval mode {before:.4f}, after {images:,} images at frozen weights {after:.4f}, in {s:.1f} s")
        .format(**accuracy, images=document["images"], s=document["seconds"])
    )  # fmt: skip


def _whole_number(name: str, text: str | None) -> int | None:
    return None if text is None else whole(name, text)


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


app.command("memory")(memory.memory)
app.command("parity")(parity.parity)
app.command("check")(parity.check)
app.command("quirks")(quirks.quirks)
app.command("log")(log.log)


def main() -> None:
    """Entry point of the ``bnviz`` script."""
    try:
        status = app(standalone_mode=False)
    except typer.TyperException as error:  # an option that there is not, a value left out
        typer.echo(_("Error: {error}").format(error=error.format_message()), err=True)
        status = 2
    except typer.Abort:
        status = 1
    sys.exit(status)
