"""The chain from a running statistic along ``grad_fn`` to the activations of a past batch."""

from dataclasses import dataclass
from typing import Any

import pandas as pd
from torch import Tensor

from bnviz.census.graph import first_to_save, newer_nodes, saved_tensors, storages
from bnviz.census.graph_census import GraphCensus


@dataclass(frozen=True)
class Chain:
    """The part of the graph behind one tensor that one batch has made."""

    nodes: pd.DataFrame
    """A row a node, oldest first: number, operation, layer, bytes (of the storages that it was the
    first to save), saved (in words: name, shape and bytes of each tensor)."""
    edges: pd.DataFrame
    """Columns node and input: numbers of a node and of one that it was computed from."""
    older: list[int]
    """Numbers of the nodes whose input is the same statistic after the batch before."""


def chain(census: GraphCensus, tensor: Tensor, batch: int) -> Chain:
    """What `tensor` keeps alive of batch number `batch` of `census` (negative from the newest).

    Each node of that batch once; parameters are left out, they live anyway. All newer nodes are
    walked through, and nothing is kept. Raises IndexError for a batch that is not in the chain.
    """
    part = census.batches[batch]
    if tensor.grad_fn is None:
        return no_chain()
    found = newer_nodes([tensor.grad_fn], part.start - 1)
    own = dict(sorted((number, node) for number, node in found.items() if number < part.stop))
    rows, edges, older, seen = [], [], [], census.alive_anyway()
    for number, node in own.items():
        size, words = _saved(node, seen)
        rows.append((number, node.name(), part.layer_of(number), size, words))
        for function, _input in node.next_functions:
            if function is None:
                continue
            target = function._sequence_nr()
            if target in own:
                edges.append((number, target))
            elif target < part.start:
                older.append(number)
    names = ["number", "operation", "layer", "bytes", "saved"]
    return Chain(
        pd.DataFrame(rows, columns=names), pd.DataFrame(edges, columns=["node", "input"]), older
    )


def no_chain() -> Chain:
    """The chain of what keeps nothing."""
    names = ["number", "operation", "layer", "bytes", "saved"]
    return Chain(pd.DataFrame(columns=names), pd.DataFrame(columns=["node", "input"]), [])


def _saved(node: Any, seen: set[int]) -> tuple[int, str]:
    """Bytes that no node before has saved, and all that it saved in words."""
    words = [
        f"{name} {tuple(tensor.shape)}, {sum(storages(tensor).values()):,} B"
        for name, tensor in saved_tensors(node)
    ]
    return first_to_save(node, seen), "; ".join(words)
