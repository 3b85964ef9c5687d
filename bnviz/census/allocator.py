"""What torch's allocator holds on a device, and giving freed memory back to the system."""

import ctypes
import platform

import torch


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
