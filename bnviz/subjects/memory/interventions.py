"""One layer of a memory experiment, and what may be tried against its living chain."""

import gc
from dataclasses import dataclass

import torch
from torch import Tensor

from bnviz.census.graph_census import GraphCensus, detach_statistics, watch
from bnviz.i18n import N_
from bnviz.nn.state import STATISTICS
from bnviz.subjects.memory.experiment_config import LeakConfig
from bnviz.training.steps import build_model, build_optimizer, train_step

LEAKY = "note"
"""The variant whose statistics may keep their graph."""
CUTS = {
    "detach": N_("detach()"),
    "no_grad": N_("no_grad()"),
    "eval": N_("eval()"),
    "buffers": N_("buffers in place"),
    "del": N_("del"),
}
UNDO = "undo"


@dataclass
class Testing:
    """How test batches run: mode ``train`` or ``eval``, with a graph or without."""

    mode: str
    grad: bool


class Side:
    """One layer in the experiment: its network, its optimizer, its census."""

    def __init__(self, config: LeakConfig, variant: str, device: torch.device):
        run = config.run_config()
        self.config = config
        self.model = build_model(run, variant, device)
        self.optimizer = build_optimizer(run, self.model, device)
        look = watch if variant == LEAKY else GraphCensus
        self.census = look(self.model, only=STATISTICS)
        self.output: Tensor | None = None
        """What the last batch gave: a loop holds it too until the next one."""

    def train(self, inputs: Tensor, labels: Tensor) -> None:
        """A training step."""
        self.output = train_step(self.model, self.optimizer, inputs, labels)
        self.census.update()

    def test(self, inputs: Tensor, testing: Testing) -> None:
        """A test batch: forward as `testing` says, never backward."""
        self.model.train(testing.mode == "train")
        with torch.set_grad_enabled(testing.grad):
            self.output = self.model(inputs)
        self.model.train()
        self.census.update()

    def close(self) -> None:
        """Free the graph, and give the layers their own forward back."""
        self.output = None
        self.census.close()
        detach_statistics(self.model)

    def switch(self, **switches: bool) -> None:
        """Set switches of the note's layers."""
        for layer in self.model.norm_layers().values():
            for name, value in switches.items():
                setattr(layer, name, value)


def apply(name: str, side: Side, testing: Testing, inputs: Tensor) -> None:
    """Do what one of CUTS, or UNDO, says, to the layer itself and to the test batches to come.

    What was tried before is taken back first, so that each is tried alone.
    ``detach`` detaches the statistics, now and from now on. ``no_grad`` runs test batches without a
    graph, `inputs` at once. ``eval`` tests in eval mode. ``buffers`` registers the statistics and
    lets the layer write into them in place. ``del`` drops the output of the last batch, which the
    two that cut at once drop as well.
    """
    _unregister(side)
    testing.mode, testing.grad = side.config.test_mode, side.config.grad
    side.switch(keep_graph=side.config.keep_graph, in_place=False)
    if name in ("detach", "buffers"):
        side.output = None  # it holds the graph of its own batch, which is to be freed too
    if name == "detach":
        detach_statistics(side.model)
        side.switch(keep_graph=False)
    elif name == "no_grad":
        testing.grad = False
        side.test(inputs, testing)
    elif name == "eval":
        testing.mode = "eval"
    elif name == "buffers":
        detach_statistics(side.model)
        _register(side)
        side.switch(in_place=True)
    elif name == "del":
        side.output = None
        gc.collect()


def _unregister(side: Side) -> None:
    """Make plain attributes of them again, as the note has them."""
    for layer in side.model.norm_layers().values():
        for name in STATISTICS:
            if name in layer._buffers:
                value = layer._buffers.pop(name)
                setattr(layer, name, value)


def _register(side: Side) -> None:
    """Make buffers of the statistics that are plain attributes."""
    for layer in side.model.norm_layers().values():
        for name in STATISTICS:
            if name not in layer._buffers:
                value = getattr(layer, name).clone()
                delattr(layer, name)
                layer.register_buffer(name, value)
