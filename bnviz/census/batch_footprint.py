"""What a batch has left behind: bytes and nodes by layer and operation."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from bnviz.census.graph import first_to_save

OUTSIDE = ""
"""The layer of what was computed in no layer's forward, or before anybody watched."""

Spans = tuple[tuple[int, str], ...]
"""Numbers of nodes since the batch began, ascending, and the layer that ran from there on."""


@dataclass(frozen=True, eq=False)
class Footprint:
    """What batches of one kind leave behind, by layer and operation."""

    bytes: int
    """Of the storages that the nodes saved."""
    counts: Counter[tuple[str, str]]
    """Nodes by layer and operation."""
    sizes: Counter[tuple[str, str]]
    """Bytes by layer and operation; a storage belongs to the node that saved it first."""
    spans: Spans
    held: Mapping[int, int]
    """By place in the batch: bytes that the node there holds, 0 where backward has emptied it."""


NOTHING = Footprint(0, Counter(), Counter(), (), {})


class Batch(NamedTuple):
    """What came to the graph between two looks at it."""

    start: int
    """Autograd's number of the first node that could belong to it."""
    stop: int
    """The number after its last one."""
    nodes: int
    """Of them those that are kept alive."""
    kept: Footprint

    @property
    def bytes(self) -> int:
        """Bytes of the storages that these saved."""
        return self.kept.bytes

    def layer_of(self, number: int) -> str:
        """The layer in whose forward the node of that number was made."""
        return _layer(self.kept.spans, number - self.start)

    def table(self) -> pd.DataFrame:
        """As `GraphCensus.table`, of this batch alone."""
        return table_of(Counter({self.kept: 1}))


def table_of(times: Counter[Footprint]) -> pd.DataFrame:
    """Sums over so many batches of each kind, as `GraphCensus.table`."""
    counts: Counter[tuple[str, str]] = Counter()
    sizes: Counter[tuple[str, str]] = Counter()
    for kept, number in times.items():
        for key, count in kept.counts.items():
            counts[key] += number * count
            sizes[key] += number * kept.sizes[key]
    rows = [(*key, count, sizes[key]) for key, count in counts.items()]
    frame = pd.DataFrame(rows, columns=["layer", "operation", "nodes", "bytes"])
    return frame.sort_values(["bytes", "nodes"], ascending=False, ignore_index=True)


def footprint_of(
    nodes: Mapping[int, Any], begun: int, spans: Spans, held: Mapping[int, int], seen: set[int]
) -> Footprint:
    """What a batch of `nodes` leaves, each storage where it was saved first, if it is not `seen` yet."""
    counts: Counter[tuple[str, str]] = Counter()
    sizes: Counter[tuple[str, str]] = Counter()
    for number, node in sorted(nodes.items()):
        key = _layer(spans, number - begun), node.name()
        counts[key] += 1
        sizes[key] += first_to_save(node, seen)
    return Footprint(sizes.total(), counts, sizes, spans, held)


def _layer(spans: Spans, place: int) -> str:
    """The layer that made the node of that place in its batch."""
    at = bisect_right(spans, place, key=lambda span: span[0]) - 1
    return spans[at][1] if at >= 0 else OUTSIDE
