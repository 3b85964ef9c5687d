"""Own memory of a process: what it allocated counts, what it has mapped from the disk does not."""

import sys
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from bnviz.census import allocator
from bnviz.units import MIB

SIZE = 64 * MIB


@pytest.fixture
def grown():
    """How many bytes `process_bytes` has grown since the test began, by name."""
    before = allocator.process_bytes()
    return lambda: {name: now - before[name] for name, now in allocator.process_bytes().items()}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells own memory apart")
def test_a_mapped_file_counts_in_rss_only_and_an_array_in_both(tmp_path, grown):
    with (tmp_path / "record").open("wb") as file:
        file.truncate(SIZE)  # nothing is allocated: a freed block that is taken again would count
    mapped = np.memmap(tmp_path / "record", mode="r")
    assert mapped.sum() == 0  # every page is read
    found = grown()
    assert found["rss"] > 0.9 * SIZE
    assert abs(found["own"]) < 0.1 * SIZE
    array = np.ones(SIZE, np.uint8)
    assert grown()["own"] > 0.9 * len(array)
    assert allocator.own_bytes() == pytest.approx(allocator.process_bytes()["own"], abs=MIB)


def test_where_the_system_does_not_tell_it_is_the_rss(monkeypatch):
    info = SimpleNamespace(rss=123)
    monkeypatch.setattr(psutil, "Process", lambda: SimpleNamespace(memory_info=lambda: info))
    assert allocator.process_bytes() == {"rss": 123, "own": allocator.UNKNOWN}
    assert allocator.own_bytes() == 123
