"""Tensors made of other tensors' rows, each block of which is assembled when it is read; but for `InMemory` no data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from qwen7b.files.stored import DTYPES, StoredTensor


@dataclass(frozen=True, slots=True, eq=False)
class SelectedRows:
    """Rows of another tensor, selected by index in any order."""

    base: StoredTensor
    rows: Tensor
    """(rows,) int64"""

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self.rows), *self.base.shape[1:]

    def read_rows(self, start: int, stop: int) -> Tensor:
        rows = self.rows[start:stop]
        first = int(rows.min())
        return self.base.read_rows(first, int(rows.max()) + 1)[rows - first]


@dataclass(frozen=True, slots=True)
class Concatenated:
    """Several tensors concatenated along the rows."""

    parts: Sequence[StoredTensor]

    @property
    def shape(self) -> tuple[int, ...]:
        return sum(part.shape[0] for part in self.parts), *self.parts[0].shape[1:]

    def read_rows(self, start: int, stop: int) -> Tensor:
        blocks, first = [], 0
        for part in self.parts:
            end = first + part.shape[0]
            if start < end and first < stop:
                blocks.append(part.read_rows(max(start, first) - first, min(stop, end) - first))
            first = end
        return torch.cat(blocks)


@dataclass(frozen=True, slots=True)
class Zeros:
    """A tensor of zeros."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    def read_rows(self, start: int, stop: int) -> Tensor:
        return torch.zeros(stop - start, *self.shape[1:], dtype=self.dtype)


@dataclass(frozen=True, slots=True, eq=False)
class InMemory:
    """A tensor that lies in no file."""

    values: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.values.shape)

    def read_rows(self, start: int, stop: int) -> Tensor:
        return self.values[start:stop]


def dtype_of(stored: StoredTensor) -> torch.dtype:
    """The float type that holds a tensor's numbers exactly: its own, or float32 where it is quantized."""
    dtype = stored.read_rows(0, 1).dtype
    return dtype if dtype in DTYPES.values() else torch.float32
