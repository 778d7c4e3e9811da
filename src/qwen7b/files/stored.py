"""A tensor in a file as the loader sees it, whatever the format: a shape, and rows that can be read.

Files are read, not mapped, except where the model uses their bytes as they are: mapped pages would count as memory of
the process while a checkpoint streams through.
"""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from qwen7b.errors import CheckpointError
from qwen7b.system.regular_file import open_regular

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""The types that a model can compute in, by name."""
BLOCK_BYTES = 4 << 20
"""The size of a block of rows in float32, roughly; loading needs memory for the model and a few blocks."""


class StoredTensor(Protocol):
    """A tensor in a file."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def read_rows(self, start: int, stop: int) -> Tensor:
        """Rows start to stop of the first axis."""


def row_ranges(stored: StoredTensor) -> Iterator[tuple[int, int]]:
    """(first row, row after the last) of consecutive blocks of about BLOCK_BYTES."""
    num_rows, row_size = stored.shape[0], math.prod(stored.shape[1:])
    step = max(1, BLOCK_BYTES // (4 * max(row_size, 1)))
    for start in range(0, num_rows, step):
        yield start, min(start + step, num_rows)


def row_blocks(stored: StoredTensor) -> Iterator[tuple[int, Tensor]]:
    """(first row, rows) of the blocks of `row_ranges`."""
    for start, stop in row_ranges(stored):
        yield start, stored.read_rows(start, stop)


def map_file(path: Path) -> mmap.mmap:
    """A file's pages, which are read when they are used. Writing to them changes only this process's copy."""
    with opened(path) as file:
        # torch wants writable pages; until someone writes to them they stay shared with the file.
        pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    if hasattr(mmap, "MADV_WILLNEED"):
        pages.madvise(mmap.MADV_WILLNEED)
    return pages


def map_range(path: Path, *, offset: int, num_bytes: int) -> tuple[mmap.mmap, int]:
    """The pages that hold a range of a file, and its offset in them. Raises CheckpointError past the file's end."""
    start = offset - offset % mmap.ALLOCATIONGRANULARITY
    with opened(path) as file:
        if offset + num_bytes > os.fstat(file.fileno()).st_size:
            raise CheckpointError(f"{path} ends before its data does: download it again")
        pages = mmap.mmap(file.fileno(), offset + num_bytes - start, access=mmap.ACCESS_COPY, offset=start)
    return pages, offset - start


def file_size(path: Path) -> int:
    """The size of a regular file in bytes. Raises CheckpointError where it cannot be opened."""
    with opened(path) as file:
        return os.fstat(file.fileno()).st_size


@contextmanager
def opened(path: Path) -> Iterator[FileIO]:
    """Open a regular file for reading. Raises CheckpointError where that fails."""
    try:
        with open_regular(path) as file:
            yield file
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error


def read_bytes(path: Path, *, offset: int, num_bytes: int) -> bytearray:
    """A range of a file's bytes. Raises CheckpointError where the file is too short."""
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        if offset + num_bytes > size:  # checked before memory is allocated
            raise CheckpointError(f"{path} ends at byte {size}, before its data does: download it again")
        data = bytearray(num_bytes)
        file.seek(offset)
        filled = 0
        while filled < num_bytes and (count := file.readinto(memoryview(data)[filled:])):
            filled += count
    if filled < num_bytes:
        raise CheckpointError(f"{path} ends at byte {offset + filled}, before its data does: download it again")
    return data


@dataclass(frozen=True, slots=True)
class RawTensor:
    """A tensor whose bytes in the file are those in memory."""

    path: Path
    dtype: torch.dtype
    shape: tuple[int, ...]
    offset: int

    def read_rows(self, start: int, stop: int) -> Tensor:
        row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        data = read_bytes(self.path, offset=self.offset + start * row_bytes, num_bytes=(stop - start) * row_bytes)
        if not data:
            return torch.empty((stop - start, *self.shape[1:]), dtype=self.dtype)
        return torch.frombuffer(data, dtype=self.dtype).view(stop - start, *self.shape[1:])

    def view(self, pages: mmap.mmap | bytearray) -> Tensor:
        """The tensor as a view of `pages`, the file mapped or read whole."""
        count = math.prod(self.shape)
        if not count:  # which frombuffer refuses
            return torch.empty(self.shape, dtype=self.dtype)
        return torch.frombuffer(pages, dtype=self.dtype, count=count, offset=self.offset).view(self.shape)

    def read_columns(self, start: int, stop: int) -> Tensor:
        """Columns start to stop of a matrix."""
        num_rows, num_columns = self.shape
        size, row_bytes = (stop - start) * self.dtype.itemsize, num_columns * self.dtype.itemsize
        data = bytearray(num_rows * size)
        with opened(self.path) as file:
            if start == 0 and hasattr(os, "posix_fadvise"):  # else a disk would seek for each row
                os.posix_fadvise(file.fileno(), self.offset, num_rows * row_bytes, os.POSIX_FADV_WILLNEED)
            for row, offset in enumerate(range(0, len(data), size)):
                file.seek(self.offset + row * row_bytes + start * self.dtype.itemsize)
                if file.readinto(memoryview(data)[offset : offset + size]) != size:
                    raise CheckpointError(f"{self.path} ends before its data does: download it again")
        return torch.frombuffer(data, dtype=self.dtype).view(num_rows, stop - start)
