"""A checkpoint's tensors as our model's parameters, whatever its format."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from qwen7b.config import ModelConfig
from qwen7b.model import Transformer
from qwen7b.weights.names import Place
from qwen7b.weights.stored import StoredTensor
from qwen7b.weights.views import ChosenRows, Joined

if TYPE_CHECKING:
    from qwen7b.weights.checkpoint import Checkpoint

Parameters = Mapping[str, StoredTensor]


def empty_model(config: ModelConfig) -> Transformer:
    """The model without memory for its parameters: only their names and shapes."""
    with torch.device("meta"):
        return Transformer(config)


def parameters_of(checkpoint: Checkpoint) -> Parameters:
    """A checkpoint's tensors by the names of our model's parameters: query, key and value joined, halves apart."""
    pieces: defaultdict[str, list[tuple[Place, StoredTensor]]] = defaultdict(list)
    for place, stored in checkpoint.tensors.values():
        if heads := place.interleaved_heads:
            pairs = torch.arange(stored.shape[0]).view(heads, -1, 2)  # rotary pairs lie side by side in GGUF's Llama
            stored = ChosenRows(stored, pairs.transpose(1, 2).flatten())
        pieces[place.parameter].append((place, stored))
    parameters: dict[str, StoredTensor] = {}
    for name, found in pieces.items():
        parts = [stored for _, stored in sorted(found, key=lambda piece: piece[0].first_row)]
        parameters[name] = parts[0] if len(parts) == 1 else Joined(parts)
    return parameters
