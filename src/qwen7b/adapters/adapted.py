"""A checkpoint with an adapter added: its tensors are views, which add the adapter to rows as they are read.

So whatever reads a checkpoint (loading, packing, conversion) takes an adapted one, and no whole copy is made.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from qwen7b.adapters.adapter import Adapter
from qwen7b.adapters.adapter_files import read_adapter
from qwen7b.adapters.placed import place_adapter
from qwen7b.checkpoint.checkpoint import Checkpoint
from qwen7b.checkpoint.checks import check_complete, check_shapes
from qwen7b.checkpoint.parameters import parameters_of
from qwen7b.checkpoint.tensor_names import Place
from qwen7b.files.stored import StoredTensor


@dataclass(frozen=True, slots=True, eq=False)
class WithProduct:
    """A matrix with scale · B · A added to some of its rows, in float32."""

    base: StoredTensor
    first_row: int
    a: Tensor
    b: Tensor
    scale: float

    @property
    def shape(self) -> tuple[int, ...]:
        return self.base.shape

    def read_rows(self, start: int, stop: int) -> Tensor:
        rows = self.base.read_rows(start, stop).to(torch.float32, copy=True)
        first, last = max(start, self.first_row), min(stop, self.first_row + self.b.shape[0])
        if first < last:
            b = self.b[first - self.first_row : last - self.first_row]
            rows[first - start : last - start] += self.scale * (b @ self.a)
        return rows


@dataclass(frozen=True, slots=True, eq=False)
class WithRows:
    """A matrix of which some rows are replaced."""

    base: StoredTensor
    ids: Tensor
    rows: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return self.base.shape

    def read_rows(self, start: int, stop: int) -> Tensor:
        read = self.base.read_rows(start, stop).to(torch.float32, copy=True)
        inside = (self.ids >= start) & (self.ids < stop)
        read[self.ids[inside] - start] = self.rows[inside]
        return read


def with_adapter(checkpoint: Checkpoint, adapter: Adapter | str | Path) -> Checkpoint:
    """The checkpoint with an adapter, or with the one in a folder; packed weights are unpacked as they are read.

    Raises what `read_adapter` raises, and CheckpointError where the adapter was trained on another base.
    """
    name = str(adapter) if isinstance(adapter, (str, Path)) else "the adapter"
    if isinstance(adapter, (str, Path)):
        adapter = read_adapter(adapter)
    check_shapes(checkpoint)
    check_complete(checkpoint)
    placed = place_adapter(adapter, checkpoint.config, name=name, base=str(checkpoint.path))
    parameters = dict(parameters_of(checkpoint))
    for place, values in placed.whole:
        ids = torch.arange(values.shape[0]) + place.first_row
        parameters[place.parameter] = WithRows(parameters[place.parameter], ids, values.float())
    for place, (a, b) in placed.factors:
        stored = parameters[place.parameter]
        parameters[place.parameter] = WithProduct(stored, place.first_row, a, b, adapter.settings.scale)
    for place, (ids, rows) in placed.token_rows:
        parameters[place.parameter] = WithRows(parameters[place.parameter], ids, rows)
    tensors = {name: (Place(parameter=name), stored) for name, stored in parameters.items()}
    return replace(checkpoint, tensors=tensors, packed=None)
