"""An adapter: pairs of small matrices whose product is added to a layer's weight, and rows that replace the base's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from qwen7b.adapters.settings import LoraSettings


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Adapter:
    """An adapter's numbers, by the names that the modules have in the base's checkpoint.

    factors     the matrices A (rank, columns) and B (rows, rank) of each layer: its weight grows by scale · B · A
    token_rows  rows (tokens, columns) of a module, for its `token_ids`
    token_ids   the tokens of each module in `token_rows`
    whole       whole tensors, by their names, as "modules_to_save" has them
    """

    settings: LoraSettings
    factors: Mapping[str, tuple[Tensor, Tensor]]
    token_rows: Mapping[str, Tensor] = field(default_factory=dict)
    token_ids: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    whole: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def num_weights(self) -> int:
        pairs = [tensor for pair in self.factors.values() for tensor in pair]
        return sum(tensor.numel() for tensor in (*pairs, *self.token_rows.values(), *self.whole.values()))
