"""What a process and torch's allocator hold, and giving freed memory back to the system."""

import ctypes
import platform

import psutil
import torch

UNKNOWN = -1
"""Own memory in bytes where the system does not tell."""


def process_bytes() -> dict[str, int]:
    """``rss`` and ``own`` memory of this process in bytes.

    RSS counts every page that is in memory now, those of mapped files too: libraries, and the run's
    own record, which is on the disk and goes from memory when others need the place. ``own`` leaves
    them out. Linux tells them apart (https://man7.org/linux/man-pages/man5/proc_pid_statm.5.html,
    resident less shared); elsewhere ``own`` is UNKNOWN.
    """
    info = psutil.Process().memory_info()
    shared = getattr(info, "shared", None)
    return {"rss": info.rss, "own": UNKNOWN if shared is None else info.rss - shared}


def own_bytes() -> int:
    """Own memory of this process in bytes, RSS where the system does not tell it apart."""
    found = process_bytes()
    return found["rss"] if found["own"] == UNKNOWN else found["own"]


def device_bytes(device: torch.device) -> tuple[int, int]:
    """Bytes allocated and reserved on `device` by torch's allocator; (0, 0) on a CPU."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device), torch.cuda.memory_reserved(device)
    if device.type == "mps":
        return torch.mps.current_allocated_memory(), torch.mps.driver_allocated_memory()
    return 0, 0


def trim() -> bool:
    """Ask glibc to give freed memory back to the system; False where there is no glibc to ask.

    https://man7.org/linux/man-pages/man3/malloc_trim.3.html
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    ctypes.CDLL(None).malloc_trim(0)
    return True
