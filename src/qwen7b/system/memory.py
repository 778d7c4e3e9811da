"""How much memory is free, and a clear error where that is too little."""

from __future__ import annotations

import ctypes
import mmap
import sys
from pathlib import Path

import psutil
import torch

from qwen7b.errors import ResourceError
from qwen7b.system.container import memory_left

_MMAP_THRESHOLD = -3
"""glibc's number for the size from which each block has pages of its own."""
_LARGE_BLOCK = 1 << 18


def available_bytes(device: torch.device) -> int:
    """Bytes that are free on a device; on the CPU at most what this process's container leaves."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    available, container = int(psutil.virtual_memory().available), memory_left()
    return available if container is None else min(available, container)


def release_freed(device: torch.device) -> None:
    """Give freed memory back to the system where PyTorch, or glibc for it, keeps it for tensors to come."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif (trim := getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None) is not None:
        trim(ctypes.c_size_t(0))


def return_large_blocks() -> None:
    """Have this process give large blocks back to the system as soon as they are freed, whatever it does next.

    By itself glibc keeps freed blocks of up to 32 MB for others to come, and what lives longer settles between them: a
    process that trains by way of many short-lived blocks then takes hundreds of megabytes more than it holds. The price
    is time, as the system clears every block anew.
    """
    if sys.platform == "linux" and (set_option := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        set_option(ctypes.c_int(_MMAP_THRESHOLD), ctypes.c_int(_LARGE_BLOCK))


def zeroed_memory(num_bytes: int) -> mmap.mmap:
    """Memory of this process, full of zeros, of which a page is taken from the system only when it is written to.

    Raises ResourceError where the system grants no more.
    """
    own = {} if sys.platform == "win32" else {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS}  # a fork has its copy
    try:
        return mmap.mmap(-1, num_bytes, **own)
    except OSError as error:
        raise ResourceError(f"the system refuses {gigabytes(num_bytes)} of memory: {error.strerror}") from error


def peak_bytes(device: torch.device | None = None) -> int:
    """The peak memory of this process so far; on a CUDA device, where one is given, the peak that PyTorch has taken."""
    if device is not None and device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    if sys.platform == "linux":  # where getrusage also counts the process that started this one
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.split("VmHWM:")[1].split()[0])
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def require_memory(num_bytes: int, *, device: torch.device, what: str, remedy: str) -> None:
    """Raise ResourceError where `what`, which needs `num_bytes`, does not fit."""
    available = available_bytes(device)
    if num_bytes > available:
        raise ResourceError(f"{what} needs {gigabytes(num_bytes)}, but {gigabytes(available)} are free: {remedy}")


def gigabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB"
