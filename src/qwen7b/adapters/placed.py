"""An adapter's numbers with their places in a model, once it is known that they fit it."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from qwen7b.adapters.adapter import Adapter
from qwen7b.checkpoint.tensor_names import Place, folder_names, place_of
from qwen7b.config import ModelConfig
from qwen7b.errors import CheckpointError, quoted
from qwen7b.model.parameter_shapes import parameter_shapes


@dataclass(frozen=True, slots=True, eq=False)
class PlacedAdapter:
    """What an adapter changes, as pairs of a place and what it has for it.

    factors     A (rank, columns) and B (rows, rank)
    token_rows  ids (N,) and rows (N, columns)
    whole       tensors
    """

    factors: list[tuple[Place, tuple[Tensor, Tensor]]] = field(default_factory=list)
    token_rows: list[tuple[Place, tuple[Tensor, Tensor]]] = field(default_factory=list)
    whole: list[tuple[Place, Tensor]] = field(default_factory=list)


def place_adapter(adapter: Adapter, config: ModelConfig, *, name: str, base: str) -> PlacedAdapter:
    """Find the places of an adapter's numbers. Raises CheckpointError where it was trained on another base."""
    names, shapes = folder_names(config), parameter_shapes(config)

    def other_base(reason: str) -> CheckpointError:
        return CheckpointError(
            f"{name} does not fit {base}: {reason}; it was trained on another base, so give that one"
        )

    def place(tensor: str, actual: tuple[int, ...] | None = None) -> Place:
        found = place_of(tensor, names=names, config=config)
        if found is None or found.parameter not in shapes:
            raise other_base(f"it changes {quoted(tensor)}, which is not there")
        whole = shapes[found.parameter]
        expected = (found.num_rows or whole[0], *whole[1:])
        if actual is not None and actual != expected:
            raise other_base(f"{quoted(tensor)} is {list(expected)} there and {list(actual)} here")
        return found

    placed = PlacedAdapter()
    for tensor, values in adapter.whole.items():
        placed.whole.append((place(tensor, tuple(values.shape)), values))
    for stem, (a, b) in adapter.factors.items():
        placed.factors.append((place(f"{stem}.weight", (b.shape[0], a.shape[1])), (a, b)))
    for stem, rows in adapter.token_rows.items():
        found, ids = place(f"{stem}.weight"), torch.tensor(adapter.token_ids[stem])
        expected = shapes[found.parameter]
        if rows.shape[1:] != expected[1:] or int(ids.max()) >= expected[0]:
            raise other_base(f"its rows of {quoted(stem)} do not fit {list(expected)}")
        placed.token_rows.append((found, (ids, rows)))
    return placed
