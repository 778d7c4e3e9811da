"""Keeps the threads of PyTorch's operations off cores that others need."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """PyTorch uses a single thread for the caller, and as many as before for others, as long as the context lasts.

    The rest spin for milliseconds after every operation, and would take the cores from threads of our own. Where
    PyTorch has no OpenMP that can be asked, as on Windows, nothing changes.
    """
    count = torch.get_num_threads()
    if count == 1 or (openmp := _openmp()) is None:
        yield
        return
    openmp.omp_set_num_threads(1)  # torch.set_num_threads would set it for threads that start meanwhile, too
    try:
        yield
    finally:
        openmp.omp_set_num_threads(count)


@cache
def _openmp() -> ctypes.CDLL | None:
    """PyTorch's extension, in which the symbols of the OpenMP that it is linked to are found too."""
    library = ctypes.CDLL(torch._C.__file__)
    return library if hasattr(library, "omp_set_num_threads") else None
