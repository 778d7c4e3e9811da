"""A safetensors file that is written in parts, in any order and by several processes, each the rows that it holds.

`create` makes the file in its full size, `write` puts rows into their place, and `seal` writes the header with the
checksums, which are joined from those of the parts. So no process ever holds the whole.
"""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from qwen7b.files.checksums import bytes_of, checksum, checksum_fields, joined_checksum
from qwen7b.files.safetensors_file import safetensors_header


@dataclass(frozen=True, kw_only=True, slots=True)
class FileTensor:
    """A tensor of a file: the rows of a source from `first_row` on."""

    source: str | None
    """The name of what its rows are taken from; None for zeros."""
    dtype: torch.dtype
    shape: tuple[int, ...]
    first_row: int = 0

    @property
    def num_rows(self) -> int:
        return self.shape[0] if self.shape else 1

    @property
    def row_bytes(self) -> int:
        return math.prod(self.shape[1:]) * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class WrittenRows:
    """Rows of a tensor that were written, from an offset in it."""

    path: Path
    name: str
    offset: int
    num_bytes: int
    checksum: str


class TensorFile:
    """A file of tensors by name."""

    def __init__(self, path: Path, tensors: Mapping[str, FileTensor], *, format: str | None = None) -> None:
        """`format` is as for `write_checked`, whose files these are to the byte."""
        self.path, self.tensors = path, dict(tensors)
        self._own = {} if format is None else {"format": format}
        header, self._offsets = self._header({})
        self._begin = len(header)
        self._by_source: defaultdict[str | None, list[str]] = defaultdict(list)
        for name, tensor in self.tensors.items():
            self._by_source[tensor.source].append(name)

    def _header(self, sums: Mapping[str, str]) -> tuple[bytes, dict[str, int]]:
        entries = [(name, tensor.dtype, tensor.shape) for name, tensor in self.tensors.items()]
        return safetensors_header(entries, metadata=self._own | checksum_fields(self.tensors, sums))

    def create(self) -> None:
        with self.path.open("wb") as file:
            file.truncate(self._begin + sum(tensor.num_rows * tensor.row_bytes for tensor in self.tensors.values()))

    def write(self, source: str, values: Tensor, *, first_row: int = 0) -> list[WrittenRows]:
        """Write a source's rows from `first_row` on, wherever this file has them."""
        written = []
        for name in self._by_source[source]:
            tensor = self.tensors[name]
            start = max(first_row, tensor.first_row)
            stop = min(first_row + (values.shape[0] if values.dim() else 1), tensor.first_row + tensor.num_rows)
            if start >= stop:
                continue
            data = bytes_of(values[start - first_row : stop - first_row] if values.dim() else values)
            offset = (start - tensor.first_row) * tensor.row_bytes
            with self.path.open("r+b") as file:
                file.seek(self._begin + self._offsets[name] + offset)
                file.write(data)
            written.append(WrittenRows(self.path, name, offset, len(data), checksum(data)))
        return written

    def sync(self) -> None:
        """Wait until the disk has what this process wrote."""
        with self.path.open("r+b") as file:
            os.fsync(file.fileno())

    def seal(self, written: Iterable[WrittenRows]) -> None:
        """Write the header, once all rows are written."""
        parts: defaultdict[str, list[WrittenRows]] = defaultdict(list)
        for part in written:
            if part.path == self.path:
                parts[part.name].append(part)
        sums = {}
        for name, tensor in self.tensors.items():
            num_bytes = tensor.num_rows * tensor.row_bytes
            if tensor.source is None:
                sums[name] = checksum(bytes(num_bytes))
                continue
            ordered = sorted(parts[name], key=lambda part: part.offset)
            assert sum(part.num_bytes for part in ordered) == num_bytes, name
            sums[name] = joined_checksum((part.checksum, part.num_bytes) for part in ordered)
        with self.path.open("r+b") as file:
            file.write(self._header(sums)[0])
