"""How much memory is free, and a clear refusal where that is too little."""

from __future__ import annotations

import psutil
import torch

from qwen7b.errors import ResourceError


def available_bytes(device: torch.device) -> int:
    """Bytes that can still be taken on a device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def require_memory(num_bytes: int, *, device: torch.device, what: str, remedy: str) -> None:
    """Raise ResourceError where `what` does not fit."""
    available = available_bytes(device)
    if num_bytes > available:
        raise ResourceError(f"{what} needs {gigabytes(num_bytes)}, but {gigabytes(available)} are free: {remedy}")


def gigabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB"
