"""How much memory this process may take: the machine's, or less where its control group says so."""

from pathlib import Path

import psutil

# Where the limit of a container stands, what it has taken, and what of that the kernel would give
# up (https://docs.kernel.org/admin-guide/cgroup-v2.html, https://docs.kernel.org/admin-guide/cgroup-v1/memory.html).
_GROUPS = (
    (Path("/sys/fs/cgroup"), "memory.max", "memory.current", "inactive_file"),
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)  # fmt: skip


def total_memory() -> int:
    """Bytes that this process may take at most."""
    return min([psutil.virtual_memory().total, *(limit for limit, _taken in _groups())])


def free_memory() -> int:
    """Bytes that this process may take besides what is taken already, never below 0."""
    left = (limit - taken for limit, taken in _groups())
    return max(min([psutil.virtual_memory().available, *left]), 0)


def _groups() -> list[tuple[int, int]]:
    """Limit and what is taken of it, in bytes, of the control groups that say so."""
    found = []
    for folder, limit_name, taken_name, cache_name in _GROUPS:
        try:
            limit = (folder / limit_name).read_text().strip()
            taken = int((folder / taken_name).read_text())
            lines = (folder / "memory.stat").read_text().splitlines()
        except OSError:  # no such group here
            continue
        cache = dict(line.split() for line in lines).get(cache_name, "0")
        if limit != "max":
            found.append((int(limit), taken - int(cache)))
    return found
