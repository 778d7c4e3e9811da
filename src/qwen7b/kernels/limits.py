"""The peak speeds of this machine, to which measured speeds are compared."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

import torch

from qwen7b.kernels.native import library

_READ_BYTES = 1 << 29  # far larger than any cache
_INT8_ITERATIONS = 4_000_000
_NUM_RUNS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """The memory bandwidth and int8 speed of all kernel threads together, as medians of several runs."""

    read_bytes_per_second: float
    int8_ops_per_second: float
    """A multiplication and an addition are two operations."""


def measure_limits() -> Limits | None:
    """Read memory and multiply bytes for about a second each; None without the native library."""
    loaded = library()
    if loaded is None:
        return None
    data = torch.ones(_READ_BYTES, dtype=torch.uint8)
    reads = [loaded.qwen7b_measure_read(data.data_ptr(), _READ_BYTES) for _ in range(_NUM_RUNS + 1)]
    products = [loaded.qwen7b_measure_int8(_INT8_ITERATIONS) for _ in range(_NUM_RUNS + 1)]
    return Limits(read_bytes_per_second=median(reads[1:]), int8_ops_per_second=median(products[1:]))
