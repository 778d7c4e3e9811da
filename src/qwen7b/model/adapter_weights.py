"""What an adapter adds to the rows of its sequences, beside the products that all rows of a pass share.

So sequences of several adapters, and of none, go through one pass: https://arxiv.org/abs/2311.03285
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LowRankProduct:
    """A product that is added to a linear layer's: x · Aᵀ · Bᵀ.

    a  (rank, columns)
    b  (blocks, rank, LANES): B's rows in blocks, as the kernels compute outputs, with the adapter's scale in them
    """

    a: Tensor
    b: Tensor
    num_rows: int

    def __call__(self, x_RC: Tensor) -> Tensor:
        blocks = torch.einsum("Rr,nrl->Rnl", x_RC @ self.a.T, self.b)
        return blocks.flatten(1)[:, : self.num_rows]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class OwnRows:
    """Rows of an embedding or a head that an adapter has in place of the base's: `rows` (N, C) for the ids (N,)."""

    ids: Tensor
    rows: Tensor

    def replace_embedded(self, x_RC: Tensor, ids_R: Tensor) -> Tensor:
        """The embedded rows with those of its own ids replaced."""
        is_own_RN = ids_R[:, None] == self.ids
        return x_RC.where(~is_own_RN.any(dim=1, keepdim=True), self.rows[is_own_RN.int().argmax(dim=1)])

    def replace_logits(self, logits_V: Tensor, hidden_C: Tensor) -> None:
        """Replace the logits of its own ids, in place. A sum does not depend on the other rows of the pass."""
        logits_V[self.ids] = (self.rows * hidden_C).sum(dim=-1)


@dataclass(frozen=True, kw_only=True, slots=True, weakref_slot=True, eq=False)
class AdapterWeights:
    """An adapter as a pass computes with it, in the model's dtype and on its device.

    layers     of each layer, the products by the names of its linear modules, as in "attention.qkv"
    embedding  rows of the embedding, if it has any of its own
    head       rows of the head; of a tied one they are the embedding's
    digest     tells its numbers from all others', in any process
    """

    layers: Sequence[Mapping[str, LowRankProduct]]
    embedding: OwnRows | None
    head: OwnRows | None
    digest: str


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AdaptedRows:
    """The rows of a pass whose sequences have this adapter, by their numbers (N,) on the model's device."""

    numbers: Tensor
    adapter: AdapterWeights

    def add(self, y: Tensor, x: Tensor, *, layer: int, module: str) -> None:
        """Add to a linear module's outputs y (R, ...) for the inputs x (R, ...), in place."""
        if (product := self.adapter.layers[layer].get(module)) is not None:
            y[self.numbers] += product(x[self.numbers])
