"""What a tensor in a file looks like to the loader, whatever the format: a shape, and rows that can be read.

Files are read, not mapped, except where their numbers are the model's own: mapped pages would count as memory of the
process while a checkpoint streams through.
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
"""What a model can compute in."""
BLOCK_BYTES = 4 << 20
"""Aimed size of a block in float32; what a load needs beside the model is a few of these."""


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
    """(first row, rows) of these blocks."""
    for start, stop in row_ranges(stored):
        yield start, stored.read_rows(start, stop)


def map_file(path: Path) -> mmap.mmap:
    """A file's pages, which come in when they are used. Writing to them changes the process' own copy only."""
    with opened(path) as file:
        # torch wants pages that can be written; as long as nobody does they are the file's own.
        pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    if hasattr(mmap, "MADV_WILLNEED"):
        pages.madvise(mmap.MADV_WILLNEED)
    return pages


def map_stretch(path: Path, *, offset: int, num_bytes: int) -> tuple[mmap.mmap, int]:
    """The pages that hold a stretch of a file, and where it begins in them. Raises CheckpointError past its end."""
    start = offset - offset % mmap.ALLOCATIONGRANULARITY
    with opened(path) as file:
        if offset + num_bytes > os.fstat(file.fileno()).st_size:
            raise CheckpointError(f"{path} ends before its data does: download it again")
        pages = mmap.mmap(file.fileno(), offset + num_bytes - start, access=mmap.ACCESS_COPY, offset=start)
    return pages, offset - start


def file_size(path: Path) -> int:
    """Bytes of a regular file. Raises CheckpointError where it cannot be opened."""
    with opened(path) as file:
        return os.fstat(file.fileno()).st_size


@contextmanager
def opened(path: Path) -> Iterator[FileIO]:
    """A regular file to read from. Raises CheckpointError where that fails."""
    try:
        with open_regular(path) as file:
            yield file
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error


def read_bytes(path: Path, *, offset: int, num_bytes: int) -> bytearray:
    """A stretch of a file. Raises CheckpointError where the file ends before it."""
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        if offset + num_bytes > size:  # said before there is memory for it
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
    """A tensor whose numbers lie in a file as they do in memory."""

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

    def view(self, pages: mmap.mmap) -> Tensor:
        """The tensor where it lies in the file, of which `pages` is the map."""
        count = math.prod(self.shape)
        return torch.frombuffer(pages, dtype=self.dtype, count=count, offset=self.offset).view(self.shape)

    def read_columns(self, start: int, stop: int) -> Tensor:
        """Columns start to stop of a matrix."""
        num_rows, num_columns = self.shape
        size, row_bytes = (stop - start) * self.dtype.itemsize, num_columns * self.dtype.itemsize
        data = bytearray(num_rows * size)
        with opened(self.path) as file:
            if start == 0 and hasattr(os, "posix_fadvise"):  # or a disk would seek for each row of each stripe
                os.posix_fadvise(file.fileno(), self.offset, num_rows * row_bytes, os.POSIX_FADV_WILLNEED)
            for row, target in enumerate(range(0, len(data), size)):
                file.seek(self.offset + row * row_bytes + start * self.dtype.itemsize)
                if file.readinto(memoryview(data)[target : target + size]) != size:
                    raise CheckpointError(f"{self.path} ends before its data does: download it again")
        return torch.frombuffer(data, dtype=self.dtype).view(num_rows, stop - start)
