"""What a process may take is the machine's memory, or what its container leaves it."""

import psutil
import pytest

from bnviz.census import memory_limits

MIB = 2**20
GROUPS = {2: memory_limits._GROUPS[0], 1: memory_limits._GROUPS[1]}


@pytest.fixture
def group(tmp_path, monkeypatch):
    """Writes the files of a control group of version 2 or 1, as the kernel shows them."""

    def write(version, limit, taken, cache):
        limit_name, taken_name, cache_name = GROUPS[version][1:]
        (tmp_path / limit_name).write_text(f"{limit}\n")
        (tmp_path / taken_name).write_text(f"{taken}\n")
        (tmp_path / "memory.stat").write_text(f"anon 7\n{cache_name} {cache}\n")
        monkeypatch.setattr(
            memory_limits, "_GROUPS", ((tmp_path, limit_name, taken_name, cache_name),)
        )

    return write


@pytest.mark.parametrize("version", [1, 2])
def test_a_container_s_limit_counts_and_what_the_kernel_would_give_up_is_free(group, version):
    group(version, 512 * MIB, 300 * MIB, 100 * MIB)
    assert memory_limits.total_memory() == 512 * MIB
    assert memory_limits.free_memory() == 312 * MIB
    group(version, 512 * MIB, 700 * MIB, 0)
    assert memory_limits.free_memory() == 0


@pytest.mark.parametrize("limit", ["max", 2**63 - 4096])
def test_without_a_limit_it_is_the_machine_s(group, limit):
    group(2, limit, 300 * MIB, 0)
    assert memory_limits.total_memory() == psutil.virtual_memory().total
    assert memory_limits.free_memory() == pytest.approx(psutil.virtual_memory().available, rel=0.1)


def test_without_control_groups_it_is_the_machine_s(monkeypatch, tmp_path):
    monkeypatch.setattr(memory_limits, "_GROUPS", ((tmp_path, "no", "such", "file"),))
    assert memory_limits.total_memory() == psutil.virtual_memory().total
