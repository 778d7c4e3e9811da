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
from qwen7b.checkpoint.checkpoint import Checkpoint
from qwen7b.checkpoint.checks import check_complete, check_shapes
from qwen7b.checkpoint.parameters import parameters_of
from qwen7b.checkpoint.tensor_names import Place, folder_names, place_of
from qwen7b.errors import CheckpointError, quoted
from qwen7b.files.stored import StoredTensor
from qwen7b.model.parameter_shapes import parameter_shapes


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
    source = adapter if isinstance(adapter, (str, Path)) else "the adapter"
    if isinstance(adapter, (str, Path)):
        adapter = read_adapter(adapter)
    check_shapes(checkpoint)
    check_complete(checkpoint)
    names, shapes = folder_names(checkpoint.config), parameter_shapes(checkpoint.config)
    parameters = dict(parameters_of(checkpoint))

    def place(name: str, actual: tuple[int, ...] | None = None) -> Place:
        found = place_of(name, names=names, config=checkpoint.config)
        if found is None or found.parameter not in shapes:
            raise _other_base(source, checkpoint, f"it changes {quoted(name)}, which is not there")
        whole = shapes[found.parameter]
        expected = (found.num_rows or whole[0], *whole[1:])
        if actual is not None and actual != expected:
            raise _other_base(source, checkpoint, f"{quoted(name)} is {list(expected)} there and {list(actual)} here")
        return found

    for name, values in adapter.whole.items():
        found = place(name, tuple(values.shape))
        ids = torch.arange(values.shape[0]) + found.first_row
        parameters[found.parameter] = WithRows(parameters[found.parameter], ids, values.float())
    for stem, (a, b) in adapter.factors.items():
        found = place(f"{stem}.weight", (b.shape[0], a.shape[1]))
        parameters[found.parameter] = WithProduct(
            parameters[found.parameter], found.first_row, a, b, adapter.settings.scale
        )
    for stem, rows in adapter.token_rows.items():
        found, ids = place(f"{stem}.weight"), torch.tensor(adapter.token_ids[stem])
        expected = shapes[found.parameter]
        if rows.shape[1:] != expected[1:] or int(ids.max()) >= expected[0]:
            raise _other_base(source, checkpoint, f"its rows of {quoted(stem)} do not fit {list(expected)}")
        parameters[found.parameter] = WithRows(parameters[found.parameter], ids, rows)
    tensors = {name: (Place(parameter=name), stored) for name, stored in parameters.items()}
    return replace(checkpoint, tensors=tensors, packed=None)


def _other_base(source: str | Path, checkpoint: Checkpoint, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{source} does not fit {checkpoint.path}: {reason}; it was trained on another base, so give that one"
    )
