"""What a run records: layers, stages and the tables of its history.

Without torch, so that a stored run can be read and drawn before torch is loaded.
"""

import numpy as np

from bnviz.nn.layers import LAYERS, WEIGHT_LAYERS
from bnviz.records.history import Schema

CHANNELS = sum(LAYERS.values())

# A BN layer from its input to what the next layer sees.
STAGES = ("input", "normalized", "scaled", "activation")
RECORDED_STAGES = STAGES[:3]
QUANTILES = 128
SAMPLED_VALUES = 2048
"""Values of a stage that a probe takes, at most."""
LEVELS = (np.arange(QUANTILES) + 0.5) / QUANTILES

# Of the gradient at a BN layer: what comes into it from above (dL/dy), what it passes down (dL/dx).
SIDES = ("output", "input")

MODES = ("train", "eval", "note")
"""How an evaluation was made: train mode, eval mode, or the note's own `test()`."""


def layer_slice(layer: str) -> slice:
    """Where the channels of `layer` are among the 226 of a recorded row."""
    start = 0
    for name, channels in LAYERS.items():
        if name == layer:
            return slice(start, start + channels)
        start += channels
    raise KeyError(layer)


def steps_table(variant: str) -> str:
    """Name of the table with one row a step of `variant`."""
    return f"steps-{variant}"


def stages_table(variant: str) -> str:
    """Name of the table with the quantiles of each stage of `variant`."""
    return f"stages-{variant}"


def gradients_table(variant: str) -> str:
    """Name of the table with gradients and updates of `variant`, empty if it was not asked for."""
    return f"gradients-{variant}"


def memory_table(variant: str) -> str:
    """Name of the table with what the statistics of `variant` keep alive."""
    return f"memory-{variant}"


def schemas(variants: tuple[str, ...]) -> dict[str, Schema]:
    """The tables of a run over `variants`.

    ``steps-*``: loss in nats, milliseconds of the step, batch and running statistics per channel
    (biased batch variance; NaN where a variant has none). ``stages-*``: quantiles at LEVELS, shape
    (layers, recorded stages, QUANTILES). ``gradients-*``: only of a run with `gradients` on;
    quantiles of both SIDES, shape (layers, sides, QUANTILES), and of each of WEIGHT_LAYERS the L2
    norm of the weight's gradient and that of its update over that of the weight before.
    ``memory-*``: bytes and nodes kept alive. ``process``: bytes of the process, its RSS and, where the
    system tells them apart, its own (else -1; `bnviz.census.allocator.process_bytes`), and, on CUDA,
    of the device. ``evaluations``: mode as an index into MODES, accuracy from 0 to 1, loss in nats.
    """
    tables = {
        "process": Schema(
            {
                "step": ("int32", ()),
                "rss": ("int64", ()),
                "device_allocated": ("int64", ()),
                "device_reserved": ("int64", ()),
                "own": ("int64", ()),
            },
            added=("own",),
        ),
        "evaluations": Schema(
            {
                "step": ("int32", ()),
                "variant": ("int8", ()),
                "mode": ("int8", ()),
                "images": ("int32", ()),
                "batch_size": ("int32", ()),
                "accuracy": ("float32", ()),
                "loss": ("float32", ()),
            },
            chunk=32,
        ),
    }
    for variant in variants:
        tables |= _schemas_of(variant)
    return tables


def _schemas_of(variant: str) -> dict[str, Schema]:
    statistics = ("batch_mean", "batch_var", "running_mean", "running_var")
    return {
        steps_table(variant): Schema(
            {
                "step": ("int32", ()),
                "loss": ("float64", ()),
                "ms": ("float32", ()),
                **dict.fromkeys(statistics, ("float32", (CHANNELS,))),
            }
        ),
        stages_table(variant): Schema(
            {
                "step": ("int32", ()),
                "quantiles": ("float32", (len(LAYERS), len(RECORDED_STAGES), QUANTILES)),
            },
            chunk=32,
        ),
        gradients_table(variant): Schema(
            {
                "step": ("int32", ()),
                "quantiles": ("float32", (len(LAYERS), len(SIDES), QUANTILES)),
                "grad_norm": ("float32", (len(WEIGHT_LAYERS),)),
                "update_ratio": ("float32", (len(WEIGHT_LAYERS),)),
            },
            chunk=32,
        ),
        memory_table(variant): Schema(
            {
                "step": ("int32", ()),
                "kept_bytes": ("int64", ()),
                "graph_nodes": ("int64", ()),
            }
        ),
    }
