"""The memory experiment: real steps whose graph is kept or not, under a budget, and ways to cut it.

    preparing → running ⇄ paused → ended

All layers step on the same batches. After each step the census says what every layer keeps alive;
what the process takes is read beside it. Commands wait until a step is over and are obeyed by the
thread that computes, because autograd numbers the nodes of each thread apart.
"""

import gc
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from bnviz import data
from bnviz.census.allocator import device_bytes, own_bytes, trim
from bnviz.census.chain import Chain, chain, no_chain
from bnviz.census.prediction import is_test
from bnviz.data import Dataset
from bnviz.errors import ConfigError, RunError
from bnviz.evaluation.inference import to_input
from bnviz.i18n import _
from bnviz.records.history import Schema, Table
from bnviz.subjects.memory.expectation import SLACK_MIB
from bnviz.subjects.memory.experiment_config import LeakConfig
from bnviz.subjects.memory.interventions import CUTS, LEAKY, UNDO, Side, Testing, apply
from bnviz.training.steps import Images, batches, resolve_device
from bnviz.training.tasks import Progress, no_progress
from bnviz.training.worker import Mailbox
from bnviz.units import MIB

CLOSED_S = 10.0
"""An experiment ends this many seconds after the last page that showed it was closed, and frees what it holds."""
UNWATCHED_S = 600.0
"""A page that is open but has not shown it for this many seconds counts as closed."""
WAITS_S = 20.0
ASKED = ("running", "paused")
"""States in which there is somebody to answer."""
YIELD_S = 0.25


class Experiment(Mailbox):
    """One run of a LeakConfig. `run` does it; the other methods are for the page's thread.

    With `hold` the chain stays alive after the last step, to be looked at and cut, until somebody
    ends it or nobody looks any more: `connected` says whether the page of a viewer is still open.
    """

    def __init__(
        self,
        config: LeakConfig,
        dataset: Dataset | None = None,
        *,
        hold: bool = False,
        connected: Callable[[str], bool] = lambda _viewer: False,
    ):
        super().__init__()
        self.config = config
        self.state = "preparing"
        self.reason = ""
        """Why it ended, one sentence for the page."""
        self.events: list[dict[str, Any]] = []
        """Cuts: ``step``, ``name``; bytes of tensors ``before``, ``freed`` and ``kept``, and the
        ``nodes`` that are left; the ``process``'s own memory (`own_bytes`) after it, of which it gave back
        ``process_freed`` by itself and, if it was ``trimmed``, ``process_trimmed`` when it was asked to;
        ``device_freed``, bytes of torch's allocator on a device."""
        count = len(config.variants)
        self.table = Table(
            Schema(
                {
                    "step": ("int32", ()),
                    "test": ("int8", ()),
                    "kept_bytes": ("int64", (count,)),
                    "graph_nodes": ("int64", (count,)),
                    "process": ("int64", ()),
                    "device_allocated": ("int64", ()),
                    "device_reserved": ("int64", ()),
                }
            )
        )
        self.per_layer = pd.DataFrame(columns=["layer", "operation", "nodes", "bytes"])
        """What the chain of the note's layer held when it ended, as `GraphCensus.table`."""
        self._dataset, self._hold = dataset, hold
        self._sides: dict[str, Side] = {}
        self._testing = Testing(config.test_mode, config.grad)
        self._paused = False
        self._connected = connected
        self._viewers: dict[str, float] = {}  # when each last looked
        self._seen = self._rests_until = time.monotonic()
        # An old batch stays as it is, and all newer ones are walked to reach it.
        self._last_chain: tuple[tuple[str, str, int, int], Chain] | None = None

    # ---- the page's side -------------------------------------------------------------------------

    @property
    def ended(self) -> bool:
        """Whether it holds nothing any more."""
        return self.state == "ended"

    def watch(self, viewer: str) -> None:
        """Somebody looks: it stays, and rests for a moment, so that page and browser can draw."""
        self._seen = self._viewers[viewer] = now = time.monotonic()
        if now > self._rests_until + 3 * YIELD_S:  # however many look
            self._rests_until = now + YIELD_S

    def pause(self, paused: bool) -> None:
        """Rest after the present step, or go on."""

        def pause() -> None:
            self._paused = paused

        self.post(pause)

    def cut(self, name: str) -> dict[str, Any]:
        """Try one of CUTS, or UNDO, on the living chain; returns its event.

        ``detach`` detaches the note's statistics now and from now on; ``no_grad`` runs test batches
        without a graph, one of them at once; ``eval`` tests in eval mode from now on; ``buffers``
        makes the statistics buffers that are updated in place; ``del`` drops the outputs of the
        last batch and collects garbage; ``undo`` takes back all that was tried.

        Raises ConfigError for another name, RunError when nothing runs.
        """
        if name not in CUTS and name != UNDO:
            raise ConfigError(
                _("cut: got {name!r}; allowed: {allowed}.").format(
                    name=name, allowed=", ".join((*CUTS, UNDO))
                )
            )
        return self.ask(lambda: self._cut(name))

    def chain(self, layer: str, statistic: str, batch: int) -> Chain:
        """What is kept alive by a running statistic of the note's layer from one past batch.

        `batch` counts from 0 in `chain_batches`, or from the newest if negative; where the chain has
        been cut since, it is the newest that is left. Raises RunError when nothing runs.
        """
        return self.ask(lambda: self._chain(layer, statistic, batch))

    def chain_batches(self) -> pd.DataFrame:
        """A row a batch of the living chain, oldest first: columns batch (from 0), start, nodes, bytes.

        `start` is autograd's number of the first node that could belong to the batch: it stays the
        same when older batches are cut away. Raises RunError when it ends just now.
        """
        rows = []
        if LEAKY in self._sides and self.state in ASKED:
            census = self._sides[LEAKY].census
            rows = self.ask(lambda: [(b.start, b.nodes, b.bytes) for b in census.batches])
        frame = pd.DataFrame(rows, columns=["start", "nodes", "bytes"])
        frame.insert(0, "batch", range(len(frame)))
        return frame

    def kept_table(self, batch: int | None = None) -> pd.DataFrame:
        """Bytes and nodes by layer and operation, of the chain or of one batch in `chain_batches`.

        Once ended, as the chain was at the end.
        """
        side = self._sides.get(LEAKY)
        if side is None:
            return self.per_layer

        def found() -> pd.DataFrame:
            if batch is None or batch >= len(side.census.batches):
                return side.census.table()
            return side.census.batches[batch].table()

        return self.ask(found)

    def ask(self, question: Callable[[], Any]) -> Any:
        """What `question` returns between two steps. Raises RunError when nothing runs."""
        if self.state not in ASKED:
            raise RunError(_("No experiment is going on. Press Run first."))
        future = self.post(question)
        try:
            return future.result(timeout=WAITS_S)
        except TimeoutError:
            if not future.cancel():  # it is being answered just now
                return future.result()
            raise RunError(
                _("The experiment did not answer within {s:.0f} s. Try again.").format(s=WAITS_S)
            ) from None

    # ---- the experiment's own thread -------------------------------------------------------------

    def run(self, progress: Progress = no_progress) -> "Experiment":
        """Do all steps, then free everything, also when something fails. Returns itself."""
        try:
            self._prepare()
            self._loop(progress)
        finally:
            self.close()
        return self

    def _prepare(self) -> None:
        device = resolve_device(self.config.device)
        dataset = self._dataset or data.load(self.config.dataset)
        run = self.config.run_config()
        run.total_steps(len(dataset.train_labels))  # refuses a batch larger than the data
        images = Images(dataset, device)
        self._device, self._test = device, images.test
        self._batches = batches(images, run)
        self._sides = {v: Side(self.config, v, device) for v in self.config.variants}

    def _loop(self, progress: Progress) -> None:
        self.state = "running"
        for step in range(1, self.config.steps + 1):
            if self._rest(progress, step - 1):
                return
            progress(step - 1, self.config.steps)
            self._step(step)
            if self.kept_bytes > self.config.budget_mib * MIB:
                self.reason = self._spent(step)
                return
            grown = (own_bytes() - int(self.table.column("process", stop=1)[0])) / MIB
            if grown > self.config.budget_mib + SLACK_MIB:
                self.reason = _(
                    "The process grew by {grown:,.0f} MiB in {step:,} steps, far more than the "
                    "tensors that are kept and {slack:,} MiB more than the budget, so the "
                    "experiment was stopped."
                ).format(grown=grown, step=step, slack=SLACK_MIB)
                return
        self._paused = self._hold
        if not self._rest(progress, self.config.steps):
            self.reason = _("All {n:,} steps are done.").format(n=self.config.steps)

    def _rest(self, progress: Progress, done: int) -> bool:
        """Obey what was asked; wait while paused, and for a moment when somebody looks. True to end."""
        while True:
            self.answer()
            if self.stopping:
                self.reason = _("It was ended by hand, and its graph freed.")
            elif self._hold and self._left_alone():
                self.reason = _("Its page was closed or left, so it ended and freed its graph.")
            left = 1.0 if self._paused else self._rests_until - time.monotonic()
            if self.reason or left <= 0:
                break
            self.state = "paused" if self._paused else "running"
            progress(done, self.config.steps)
            self.sleep(left)
        self.state = "running"
        return bool(self.reason)

    def _left_alone(self) -> bool:
        now = time.monotonic()
        looked = list(self._viewers.items())  # the pages' threads add to it
        if any(now - at < UNWATCHED_S and self._connected(viewer) for viewer, at in looked):
            self._seen = now
        return now - self._seen > CLOSED_S

    def _spent(self, step: int) -> str:
        return _(
            "The layers kept {kept:,.0f} MiB at step {step:,}: the budget of {budget:,} MiB is "
            "spent, so the experiment was stopped and its graph freed."
        ).format(kept=self.kept_bytes / MIB, step=step, budget=self.config.budget_mib)

    @property
    def kept_bytes(self) -> int:
        """Bytes that all layers together keep alive."""
        return sum(side.census.bytes for side in self._sides.values())

    @property
    def note_keeps(self) -> int:
        """Bytes that the note's layer keeps alive now."""
        side = self._sides.get(LEAKY)
        return side.census.bytes if side is not None else 0

    def _step(self, step: int) -> None:
        test = bool(is_test(step, self.config.test_share))
        inputs, labels = next(self._batches)
        if test:
            inputs = self._test_batch(step)
        for side in self._sides.values():
            if test:
                side.test(inputs, self._testing)
            else:
                side.train(inputs, labels)
        allocated, reserved = device_bytes(self._device)
        self.table.append(
            step=step,
            test=test,
            kept_bytes=[side.census.bytes for side in self._sides.values()],
            graph_nodes=[side.census.nodes for side in self._sides.values()],
            process=own_bytes(),
            device_allocated=allocated,
            device_reserved=reserved,
        )

    def _test_batch(self, step: int) -> Tensor:
        """Test images in their order, over and over: (N, 1, 28, 28)."""
        size = self.config.batch_size
        places = torch.arange(step * size, (step + 1) * size) % len(self._test)
        return to_input(self._test[places.to(self._device)], torch.float32)

    def close(self) -> None:
        """Free everything, and let nobody wait for an answer."""
        side = self._sides.get(LEAKY)
        if side is not None:
            self.per_layer = side.census.table()
        for each in self._sides.values():
            each.close()
        self._sides, self._last_chain = {}, None
        self._batches, self._test = iter(()), torch.empty(0)
        self.refuse(RunError(_("The experiment has ended.")))
        self.state = "ended"
        gc.collect()
        trim()

    def _cut(self, name: str) -> dict[str, Any]:
        side = self._sides.get(LEAKY)
        if side is None:
            raise RunError(_("The note's layer is not in this experiment."))
        before, process, on_device = side.census.bytes, own_bytes(), device_bytes(self._device)[0]
        apply(name, side, self._testing, self._test_batch(len(self.table)))
        side.census.recount()
        by_itself, freed = own_bytes(), before - side.census.bytes
        trimmed = freed > 0 and trim()
        after = own_bytes()
        event = {
            "step": len(self.table),
            "name": name,
            "before": before,
            "freed": freed,
            "kept": side.census.bytes,
            "nodes": side.census.nodes,
            "process": after,
            "process_freed": process - by_itself,
            "trimmed": trimmed,
            "process_trimmed": by_itself - after,
            "device_freed": on_device - device_bytes(self._device)[0],
        }
        self.events.append(event)
        return event

    def _chain(self, layer: str, statistic: str, batch: int) -> Chain:
        side = self._sides[LEAKY]
        norm, count = side.model.norm_layers()[layer], len(side.census.batches)
        if not count:
            return no_chain()
        place = min(batch, count - 1)
        asked = layer, statistic, side.census.batches[place].start, len(self.events)
        if self._last_chain is None or self._last_chain[0] != asked:
            self._last_chain = asked, chain(side.census, getattr(norm, statistic), place)
        return self._last_chain[1]


def per_step(experiment: Experiment) -> dict[str, Any]:
    """What a step added, as plain JSON values.

    ``bytes`` and ``nodes`` of the first layer, over all steps; ``bytes_per_test_batch`` and
    ``bytes_per_training_step``, the medians, 0 where such a batch cuts the chain; ``process``, its own
    memory, from the tenth part on: the first steps load much of torch.
    """
    kept = experiment.table.column("kept_bytes")[:, 0]
    nodes = experiment.table.column("graph_nodes")[:, 0]
    process, test = experiment.table.column("process"), experiment.table.column("test").astype(bool)
    added, count = np.maximum(np.diff(kept, prepend=0), 0), len(kept)
    settled = min(max(count // 10, 5), count - 1)
    return {
        "bytes": float(kept[-1] / count),
        "nodes": float(nodes[-1] / count),
        "bytes_per_test_batch": float(np.median(added[test])) if test.any() else None,
        "bytes_per_training_step": float(np.median(added[~test])) if (~test).any() else None,
        "process": float((process[-1] - process[settled]) / max(count - 1 - settled, 1)),
    }
