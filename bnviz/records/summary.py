"""What a run came to, from its history, as plain JSON values."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bnviz.config import RunConfig
from bnviz.records.history import History
from bnviz.records.schema import MODES, memory_table, steps_table

LOSS_POINTS = 200


def summarize(
    *,
    config: RunConfig,
    history: History,
    device: str,
    dataset: Mapping[str, Any],
    seconds: float,
    stopped: Mapping[str, str | None],
    gradients_share: float | None,
) -> dict[str, Any]:
    """The document of ``bnviz run --json``: settings, data, and one entry a variant.

    `gradients_share` is the share of the time (0 to 1) that recording gradients took, None where
    they were not recorded.
    """
    return {
        "config": config.model_dump(mode="json"),
        "device": device,
        "dataset": dict(dataset),
        "seconds": round(seconds, 3),
        "gradients_share": None if gradients_share is None else round(gradients_share, 5),
        "variants": {
            variant: _variant(config, history, variant, stopped.get(variant))
            for variant in config.variants
        },
        "events": list(history.events),
    }


def _variant(
    config: RunConfig, history: History, variant: str, stopped: str | None
) -> dict[str, Any]:
    table, memory = history[steps_table(variant)], history[memory_table(variant)]
    stride = max(1, -(-len(table) // LOSS_POINTS))
    steps, losses = table.column("step", step=stride), table.column("loss", step=stride)
    ms = table.column("ms")
    peak = memory.column("kept_bytes")
    return {
        "steps": len(table),
        "loss": [[int(s), _number(v)] for s, v in zip(steps, losses, strict=True)],
        "ms_per_step": round(float(np.median(ms)), 4) if len(ms) else None,
        "train_mode": last_evaluation(config, history, variant, "train"),
        "eval_mode": last_evaluation(config, history, variant, "eval"),
        "kept_bytes": int(peak[-1]) if len(peak) else 0,
        "graph_nodes": int(memory.column("graph_nodes")[-1]) if len(peak) else 0,
        "stopped": stopped,
    }


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def last_evaluation(
    config: RunConfig, history: History, variant: str, mode: str
) -> dict[str, Any] | None:
    """The newest evaluation of `variant` in `mode`, or None."""
    table = history["evaluations"]
    rows = np.flatnonzero(
        (table.column("variant") == config.variants.index(variant))
        & (table.column("mode") == MODES.index(mode))
    )
    if not len(rows):
        return None
    at = rows[-1]
    return {
        "accuracy": round(float(table.column("accuracy")[at]), 6),
        "batch_size": int(table.column("batch_size")[at]),
        "images": int(table.column("images")[at]),
        "step": int(table.column("step")[at]),
        "loss": _number(table.column("loss")[at]),
    }
