"""A progress bar on stderr."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout


@contextmanager
def progress_bar(word: str) -> Iterator[Callable[..., None]]:
    """Gives a function of (done, parts), also a `bnviz.train.measurements.Progress`.

    What others print to stdout meanwhile goes to stderr too.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with redirect_stdout(sys.stderr), Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(word, total=None)

        def tell(done: int, parts: int, share: float | None = None) -> None:
            bar.update(task, completed=done, total=parts)

        yield tell
        bar.update(task, completed=bar.tasks[0].total)
