"""Two networks in lock-step: same weights, same batches; where they first differ, and how much.

A side is a variant, and for the note's layer its quirks (`bnviz.subjects.note.quirk_settings`). At each step
every tensor is compared in the order in which it comes to be: what each layer puts out, with the
running statistics after a BN layer; the loss; the gradients, from the last layer to the first; the
parameters after the update; and the statistics once more after a test pass.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from torch import Tensor, nn

from bnviz import data
from bnviz.census.graph_census import detach_statistics
from bnviz.census.saved_tensors import layer_names
from bnviz.config import RunConfig
from bnviz.data import Dataset
from bnviz.errors import ConfigError
from bnviz.i18n import _
from bnviz.instrument.capture import ForwardHook, add_hook, remove_hook
from bnviz.nn.state import STATISTICS
from bnviz.records.schema import LAYERS
from bnviz.subjects.note.quirk_settings import side_config, side_parts
from bnviz.training.observer import Observer
from bnviz.training.steps import NoteTested
from bnviz.training.tasks import Progress, no_progress
from bnviz.training.trainer import Trainer, VariantRun

KINDS = ("forward", "gradient", "parameter", "buffer")
STEPS, MOST_STEPS = 100, 2000
TEST_EVERY, TEST_IMAGES = 50, 100
BATCH, SEED = 16, 0
LOOK_EVERY = 10
AFFINE = {"gamma": "weight", "beta": "bias"}
"""The note's names for what torch calls otherwise."""


class Place(NamedTuple):
    """A tensor of a step."""

    kind: str
    """One of KINDS."""
    layer: str
    """``conv1``, ``conv1 BN``, ``conv1 sigmoid``, ``conv1 pooling``, …, ``out``, ``loss``."""
    tensor: str
    """``output``, ``weight``, ``bias``, ``running_mean``, ``running_var``, or either of the last
    two followed by ``after test()``."""


@dataclass(frozen=True)
class Parting:
    """Two sides compared: `frame` has one row a step and tensor, in the order of their making.

    Columns of `frame`: step; kind, layer and tensor, as in `Place`; difference, the largest absolute
    difference divided by the largest absolute value of that tensor on either side (0 where both are
    0; infinite where one is no number). A gradient is compared with the largest gradient of its
    layer, weight and bias together: a bias in front of BN has no gradient but rounding, of which
    nothing can be said. `start` has the same for what both sides begin with.
    """

    sides: tuple[str, str]
    frame: pd.DataFrame
    start: pd.DataFrame
    steps: int
    dtype: str


def check_lock_step(sides: Sequence[str], steps: int, dtype: str) -> None:
    """Refuse what cannot be compared.

    Raises ConfigError for a side that there is not, steps outside 1 to MOST_STEPS and another dtype.
    """
    for side in sides:
        side_parts(side)
    if not 1 <= steps <= MOST_STEPS:
        raise ConfigError(
            _("steps: got {value}; allowed: 1 to {most}.").format(value=steps, most=MOST_STEPS)
        )
    RunConfig.parse(dtype=dtype)


def compare_sides(
    first: str,
    second: str,
    steps: int = STEPS,
    progress: Progress = no_progress,
    *,
    dtype: str = "float32",
    batch_size: int = BATCH,
    seed: int = SEED,
    test_every: int = TEST_EVERY,
    dataset: Dataset | None = None,
) -> Parting:
    """Step both sides on the same batches from the same weights, on the CPU.

    A side of the note's layer makes a test pass over TEST_IMAGES test images each `test_every`
    steps, as its quirks have it. What its statistics keep is freed after each pass, which changes no
    number. Raises ConfigError as `check_lock_step` and for a batch larger than the data.
    """
    check_lock_step((first, second), steps, dtype)
    fields = {
        "dtype": dtype, "batch_size": batch_size, "seed": seed, "steps": steps, "device": "cpu",
        "eval_every": test_every, "eval_images": TEST_IMAGES,
    }  # fmt: skip
    dataset, rows = dataset or data.load(), []
    with ExitStack() as stack:
        trainers = [
            stack.enter_context(Trainer(side_config(side, **fields), dataset, observers=[_Tensors]))
            for side in (first, second)
        ]
        start = list(_differences(*(_tensors(trainer).state() for trainer in trainers)))
        for step in range(1, steps + 1):
            if step % LOOK_EVERY == 1:
                progress(step - 1, steps)
            for trainer in trainers:
                trainer.step()
            both = [_tensors(trainer).found for trainer in trainers]
            rows += [(step, *place, value) for place, value in _differences(*both)]
    names = ["step", "kind", "layer", "tensor", "difference"]
    frame = pd.DataFrame(rows, columns=names)
    at_start = pd.DataFrame([(*place, value) for place, value in start], columns=names[1:])
    return Parting((first, second), frame, at_start, steps, dtype)


def _tensors(trainer: Trainer) -> "_Tensors":
    (run,) = trainer.runs.values()
    return run.observer(_Tensors)


def first_apart(frame: pd.DataFrame, tolerance: float) -> "pd.Series | None":
    """The first row of a `Parting.frame` whose difference is more than `tolerance`, or None."""
    above = frame[frame["difference"] > tolerance]
    return above.iloc[0] if len(above) else None


def largest_by_step(frame: pd.DataFrame) -> pd.DataFrame:
    """The largest difference of each step and kind: columns step, kind, difference, layer, tensor."""
    largest = frame.groupby(["step", "kind"], sort=False)["difference"].idxmax()
    return frame.loc[largest].reset_index(drop=True)


def that_matters(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of a `Parting.frame` without what BN takes away again.

    A bias in front of BN shifts the input of BN and its running mean, and nothing behind it. Its
    gradient is rounding alone, and Adam, which divides a gradient by its own size, makes whole steps
    of it: in float32 the biases of two right networks part at once.
    """
    before_bn = frame["layer"].isin(list(LAYERS))
    shifted = before_bn & (frame["tensor"].isin(["bias", "output"]))
    return frame[~shifted & ~frame["tensor"].str.startswith("running_mean")]


class _Tensors(Observer, ForwardHook):
    """All that comes to be in a step of a side."""

    def __init__(self, trainer: Trainer, run: VariantRun):
        super().__init__(trainer, run)
        self._layers = _layers(run.model)
        self.found: dict[Place, Tensor] = {}

    def state(self) -> dict[Place, Tensor]:
        """Parameters and statistics."""
        found: dict[Place, Tensor] = {}
        for layer, module in self._layers.items():
            found |= _parameters_of(layer, module)
            found |= _statistics_of(layer, module)
        return found

    def before_update(self, step: int) -> None:
        """Forget the last step and capture what the layers put out."""
        self.found = {}
        for layer, module in self._layers.items():
            add_hook(module, self, layer)

    def after(self, layer: str, inputs: object, output: Tensor) -> None:
        """Copies, for what comes later may write in place."""
        self.found[Place("forward", layer, "output")] = output.detach().flatten().clone()
        self.found |= _statistics_of(layer, self._layers[layer])

    def after_update(self, step: int, loss: Tensor) -> None:
        """Loss, gradients and parameters."""
        self.failed()
        self.found[Place("forward", "loss", "output")] = loss
        for layer, module in reversed(self._layers.items()):
            for name, parameter in reversed(list(module.named_parameters(recurse=False))):
                assert parameter.grad is not None
                place = Place("gradient", layer, AFFINE.get(name, name))
                self.found[place] = parameter.grad.flatten()
        for layer, module in self._layers.items():
            self.found |= _parameters_of(layer, module)

    def failed(self) -> None:
        """Give the layers back."""
        for module in self._layers.values():
            remove_hook(module, self)

    def after_test(self, step: int, tested: NoteTested) -> None:
        """The statistics once more, and without what they keep alive."""
        detach_statistics(self.run.model)
        for layer, module in self._layers.items():
            self.found |= _statistics_of(layer, module, " after test()")


def _layers(model: nn.Module) -> dict[str, nn.Module]:
    """The layers in order of execution."""
    named = layer_names(model).items()
    return {name: module for module, name in named if not list(module.children())}


def _parameters_of(layer: str, module: nn.Module) -> dict[Place, Tensor]:
    return {
        Place("parameter", layer, AFFINE.get(name, name)): parameter.detach().flatten().clone()
        for name, parameter in module.named_parameters(recurse=False)
    }


def _statistics_of(layer: str, module: nn.Module, when: str = "") -> dict[Place, Tensor]:
    """Running statistics, be they buffers or plain attributes; none of a layer without."""
    return {
        Place("buffer", layer, name + when): value.detach().flatten().clone()
        for name in STATISTICS
        if isinstance(value := getattr(module, name, None), Tensor)
    }


def _differences(
    first: dict[Place, Tensor], second: dict[Place, Tensor]
) -> Iterator[tuple[Place, float]]:
    """The relative difference of each tensor that both have, in the order of the first."""
    shared = [place for place in first if place in second]
    sizes = {place: max(_largest(first[place]), _largest(second[place])) for place in shared}
    of_layer: dict[str, float] = {}
    for place in shared:
        if place.kind == "gradient":
            of_layer[place.layer] = max(of_layer.get(place.layer, 0.0), sizes[place])
    for place in shared:
        size = of_layer[place.layer] if place.kind == "gradient" else sizes[place]
        apart = _largest(first[place] - second[place])
        yield place, _ratio(apart, size)


def _largest(values: Tensor) -> float:
    return values.abs().max().item()


def _ratio(apart: float, size: float) -> float:
    if not np.isfinite(apart) or not np.isfinite(size):
        return float("inf")
    return apart / size if size else 0.0
