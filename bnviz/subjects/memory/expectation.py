"""What to expect of a memory experiment, from shapes alone, and what is refused before it begins."""

from functools import lru_cache
from typing import Any

import torch

from bnviz.census import saved_tensors
from bnviz.census.batch_footprint import OUTSIDE
from bnviz.census.chain import Chain, chain
from bnviz.census.graph_census import census, watch
from bnviz.census.memory_limits import free_memory
from bnviz.census.prediction import Prediction, predict
from bnviz.errors import ConfigError
from bnviz.i18n import _
from bnviz.nn import LeNet
from bnviz.subjects.memory.experiment_config import MOMENTUM, LeakConfig
from bnviz.training.steps import resolve_device
from bnviz.units import MIB

SLACK_MIB = 512
"""The process may grow by so much more than the budget before the experiment ends."""
IMAGE = (1, 28, 28)


def expected(config: LeakConfig, variant: str = "note") -> Prediction:
    """What the batches of `config` will keep alive in LeNet with `variant`, from shapes alone."""
    keeps = config.keep_graph if variant == "note" else True
    return _predicted(variant, keeps, config.test_mode, config.grad, config.batch_size)


@lru_cache(maxsize=64)
def _predicted(variant: str, keeps: bool, mode: Any, grad: bool, batch_size: int) -> Prediction:
    model = _shapes_only(variant, keeps)
    return predict(model, (batch_size, *IMAGE), test_mode=mode, grad=grad)


def _shapes_only(variant: str, keeps: bool = True) -> LeNet:
    options = {"keep_graph": keeps} if variant == "note" else None
    return LeNet(variant, momentum=MOMENTUM, device="meta", norm_options=options)


@lru_cache(maxsize=64)
def chain_of_shapes(batch_size: int, layer: str, statistic: str) -> Chain:
    """What a test batch of the note's loop keeps alive by a running statistic, from shapes alone."""
    model = _shapes_only("note")
    inputs = torch.empty((batch_size, *IMAGE), device="meta")
    with watch(model) as seen:
        for _batch in range(2):
            model(inputs)
            seen.update()
    return chain(seen, getattr(model.norm_layers()[layer], statistic), -1)


def layer_names() -> dict[str, str]:
    """The layers of LeNet as the census calls them, in order, with the names of the other pages."""
    model = _shapes_only("note")
    names = {
        path: saved_tensors.layer_names(model)[module] for path, module in model.named_modules()
    }
    parts = [
        {path: name for path, name in names.items() if path.startswith(f"{part}.")}
        for part in ("conv", "fc")
    ]
    return {**parts[0], OUTSIDE: _("flatten"), **parts[1]}


def check(config: LeakConfig) -> None:
    """Refuse what cannot end well here, before anything is made.

    Raises ConfigError for a device that is not there, a budget that leaves less than SLACK_MIB of the
    free memory, and a batch that needs more than the budget for a single step.
    """
    device = resolve_device(config.device)
    free = free_memory() // MIB
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0] // MIB
    if config.budget_mib > free - SLACK_MIB:
        raise ConfigError(
            _(
                "budget_mib: got {budget:,} MiB, but this machine has {free:,} MiB free, of which "
                "{slack:,} are for what the process takes besides; allowed: 1 to {most:,}."
            ).format(
                budget=config.budget_mib, free=free, slack=SLACK_MIB, most=max(free - SLACK_MIB, 1)
            )
        )
    need = step_bytes(config)
    if need > config.budget_mib * MIB:
        raise ConfigError(
            _(
                "batch_size: got {batch}, and one step of all networks saves {need:,.1f} MiB for their "
                "backward passes, more than the budget of {budget:,} MiB. Take a batch of at most "
                "{most}, or a larger budget."
            ).format(
                batch=config.batch_size,
                need=need / MIB,
                budget=config.budget_mib,
                most=int(config.batch_size * config.budget_mib * MIB // need),
            )
        )


def step_bytes(config: LeakConfig) -> int:
    """Bytes that the graphs of one batch save while they are alive, in all networks together."""
    return sum(_graph_bytes(variant, config.batch_size) for variant in config.variants)


@lru_cache(maxsize=64)
def _graph_bytes(variant: str, batch_size: int) -> int:
    model = _shapes_only(variant)
    return census(model, model(torch.empty((batch_size, *IMAGE), device="meta"))).bytes
