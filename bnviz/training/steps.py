"""One optimizer step, the note's own test loop, batches, devices: what a Trainer is made of."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bnviz.config import Quirks, RunConfig
from bnviz.data import Dataset
from bnviz.errors import ConfigError
from bnviz.evaluation.inference import to_input
from bnviz.i18n import _
from bnviz.nn import LeNet
from bnviz.nn.state import restored


def resolve_device(name: str) -> torch.device:
    """The torch device for a config's `device`; ``auto`` takes CUDA, then MPS, then the CPU.

    Raises ConfigError when the device asked for is not there.
    """
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return torch.device(next(kind for kind, found in there.items() if found))
    if not there.get(name, False):
        raise ConfigError(
            _(
                "device: got {name!r}, which this machine does not have; allowed here: {found}."
            ).format(
                name=name, found=", ".join(["auto", *(k for k, found in there.items() if found)])
            )
        )
    return torch.device(name)


def build_model(config: RunConfig, variant: str, device: torch.device) -> LeNet:
    """The LeNet of `variant`; the same weights for every variant of one seed."""
    model = LeNet(
        norm=variant,
        activation=config.activation,
        momentum=config.momentum,
        eps=config.eps,
        dtype=getattr(torch, config.dtype),
        norm_options=config.quirks.layer_options() if variant == "note" else None,
    )
    model.reset_parameters(torch.Generator().manual_seed(config.seed))
    return model.to(device)


def build_optimizer(
    config: RunConfig, model: nn.Module, device: torch.device
) -> torch.optim.Optimizer:
    """Adam or SGD, fused where torch has it."""
    kind = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[config.optimizer]
    return kind(model.parameters(), lr=config.lr, fused=device.type in ("cpu", "cuda"))


def set_hyperparameter(
    model: LeNet, optimizer: torch.optim.Optimizer, values: Mapping[str, float | None]
) -> None:
    """Set `lr` of the optimizer and `momentum`, `eps` of all norm layers that have them."""
    for name, value in values.items():
        if name == "lr":
            for group in optimizer.param_groups:
                group["lr"] = value
            continue
        for layer in model.norm_layers().values():
            if hasattr(layer, name):
                setattr(layer, name, value)


class Images:
    """A data set on a device: uint8 images (N, 28, 28) and int64 labels."""

    def __init__(self, dataset: Dataset, device: torch.device):
        self.train, self.train_labels, self.test, self.test_labels = (
            torch.tensor(array, device=device)
            for array in (
                dataset.train_images,
                dataset.train_labels,
                dataset.test_images,
                dataset.test_labels,
            )
        )


def batches(images: Images, config: RunConfig) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless training batches: a new permutation each epoch, partial last batches left out."""
    generator = torch.Generator().manual_seed(config.seed)
    dtype = getattr(torch, config.dtype)
    count = len(images.train) // config.batch_size * config.batch_size
    while True:
        order = torch.randperm(len(images.train), generator=generator).to(images.train.device)
        for index in order[:count].split(config.batch_size):
            yield to_input(images.train[index], dtype), images.train_labels[index]


def train_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor, labels: Tensor
) -> Tensor:
    """Forward, backward, update; returns the mean cross-entropy before the update, detached."""
    loss = F.cross_entropy(model(inputs), labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.detach()


def warm_up_step() -> None:
    """One step of a throw-away model: torch loads much of itself only then."""
    config, device = RunConfig(), torch.device("cpu")
    model = build_model(config, "builtin", device)
    inputs, labels = torch.zeros(2, 1, 28, 28), torch.zeros(2, dtype=torch.int64)
    train_step(model, build_optimizer(config, model, device), inputs, labels)


class NoteTested(NamedTuple):
    """What a pass of the note's `test()` came to."""

    accuracy: float
    """As the note works it out, 0 to 1."""
    right: int
    """Right answers."""
    seen: int
    """Images seen."""


def note_test(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    batch_size: int,
    quirks: Quirks,
    go_on: Callable[[], bool],
) -> NoteTested:
    """The note's `test()`: by its quirks in train mode and with gradients on, never backward.

    `go_on` is asked after each batch; False ends the pass. Where the pass must not move the running
    statistics they are put back after it, and so is the graph that they had before.
    """
    dtype = next(model.parameters()).dtype
    right = seen = tested = 0
    try:
        with (
            nullcontext() if quirks.test_moves_statistics else restored(model),
            torch.set_grad_enabled(quirks.test_with_grad),
        ):
            model.train(quirks.test_in_train_mode)
            for part, target in zip(
                images.split(batch_size), labels.split(batch_size), strict=True
            ):
                right += int((model(to_input(part, dtype)).argmax(1) == target).sum())
                seen += len(part)
                tested += 1
                if not go_on():
                    break
    finally:
        model.train()
    divisor = tested * batch_size if quirks.accuracy_over_full_batches else seen
    return NoteTested(right / max(divisor, 1), right, seen)


class StepTimer:
    """Milliseconds of stretches of work: the clock on a CPU, events on CUDA."""

    def __init__(self, device: torch.device):
        self._cuda = device.type == "cuda"
        self._marks: list[tuple] = []
        self._start: object = None

    def start(self) -> None:
        """Begin a stretch."""
        self._start = self._now()

    def stop(self) -> None:
        """End the stretch."""
        self._marks.append((self._start, self._now()))

    def _now(self) -> object:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def read(self) -> list[float]:
        """Milliseconds of the stretches since the last reading."""
        if self._cuda:
            torch.cuda.synchronize()
            result = [start.elapsed_time(end) for start, end in self._marks]
        else:
            result = [1e3 * (end - start) for start, end in self._marks]
        self._marks = []
        return result


def leave_one_core_free() -> None:
    """Take one torch thread fewer than there are cores in the calling thread.

    Page, browser and trainer share the machine, and threads of torch that wait for a core that is
    taken can make a run many times slower.
    """
    torch.set_num_threads(max(1, (os.cpu_count() or 2) - 1))
