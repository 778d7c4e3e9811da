"""A checkpoint's tensors as our model's parameters, whatever its format."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from qwen7b.checkpoint.tensor_names import Place
from qwen7b.files.stored import StoredTensor
from qwen7b.files.views import Concatenated, SelectedRows

if TYPE_CHECKING:
    from qwen7b.checkpoint.checkpoint import Checkpoint

Parameters = Mapping[str, StoredTensor]


def parameters_of(checkpoint: Checkpoint) -> Parameters:
    """A checkpoint's tensors by the names of our model's parameters: query, key and value joined, halves apart."""
    parts_of: defaultdict[str, list[tuple[Place, StoredTensor]]] = defaultdict(list)
    for place, stored in checkpoint.tensors.values():
        if heads := place.interleaved_heads:
            pairs = torch.arange(stored.shape[0]).view(heads, -1, 2)  # GGUF's Llama interleaves rotary pairs
            stored = SelectedRows(stored, pairs.transpose(1, 2).flatten())
        parts_of[place.parameter].append((place, stored))
    parameters: dict[str, StoredTensor] = {}
    for name, placed_parts in parts_of.items():
        parts = [stored for _, stored in sorted(placed_parts, key=lambda piece: piece[0].first_row)]
        parameters[name] = parts[0] if len(parts) == 1 else Concatenated(parts)
    return parameters
