"""What training a whole model needs of memory, said before anything is computed, with what would fit."""

from __future__ import annotations

import math

import torch

from qwen7b.config import ModelConfig
from qwen7b.errors import ResourceError
from qwen7b.model.parameter_shapes import count_weights, parameter_shapes
from qwen7b.system.memory import available_bytes, gigabytes
from qwen7b.train.ranks import ALONE, Ranks

BYTES_PER_WEIGHT = 16
"""A weight in float32, its gradient, and AdamW's two means."""
_LOGITS_BYTES = 100_000_000
"""The logits of a part of the rows, and their gradients."""


def held_bytes(config: ModelConfig, *, num_shards: int = 1) -> int:
    """What weights, gradients and optimizer take of a rank: its share of them.

    Ranks that share them also have whole, for a while, the weights and gradients outside of the layers, and of a layer
    and the next.
    """
    shapes = parameter_shapes(config)
    share = -(-count_weights(shapes) * BYTES_PER_WEIGHT // num_shards)
    if num_shards == 1:
        return share
    inside = [shape for name, shape in shapes.items() if name.startswith("layers.0.")]
    outside = {name: shape for name, shape in shapes.items() if not name.startswith("layers.")}
    return share + 8 * (count_weights(outside) + 2 * sum(map(math.prod, inside)))


def computed_bytes(config: ModelConfig, *, num_tokens: int, again: bool) -> int:
    """Roughly what computing the gradients of so many tokens at once takes.

    For each token a layer keeps some 14 vectors of the hidden size and 4 of the feed-forward's; where layers are
    computed `again`, only what enters each, and all of one.
    """
    whole_layer = 14 * config.hidden_size + 4 * config.feed_forward_size
    kept = config.num_layers * config.hidden_size + whole_layer if again else config.num_layers * whole_layer
    return _LOGITS_BYTES + 4 * kept * num_tokens


def training_bytes(config: ModelConfig, *, micro_rows: int, length: int, again: bool, num_shards: int = 1) -> int:
    """About what a rank needs: weights and optimizer exactly, what layers keep for the gradients roughly."""
    computed = computed_bytes(config, num_tokens=micro_rows * length, again=again)
    return held_bytes(config, num_shards=num_shards) + computed


def require_training_memory(
    config: ModelConfig, *, micro_rows: int, length: int, again: bool, device: torch.device, ranks: Ranks = ALONE
) -> None:
    """Raise ResourceError where training does not fit, with the settings of the recipe that would."""
    available = available_bytes(device) // ranks.num_neighbours

    def needs(rows: int, again: bool) -> int:
        return training_bytes(config, micro_rows=rows, length=length, again=again, num_shards=ranks.num_shards)

    if (needed := needs(micro_rows, again)) <= available:
        return
    held = held_bytes(config, num_shards=ranks.num_shards)
    remedy = "choose a smaller model, more ranks, or a machine with more memory"
    for less_kept in (again, True):
        rows = micro_rows
        while rows >= 1 and needs(rows, less_kept) > available:
            rows //= 2
        if rows:
            also = " and activation_checkpointing = true" if less_kept and not again else ""
            remedy = f"micro_rows = {rows}{also} would fit"
            break
    raise ResourceError(
        f"training needs about {gigabytes(needed)}, {gigabytes(held)} of it for weights and optimizer, but "
        f"{gigabytes(available)} are free{' for each rank' if ranks.num_ranks > 1 else ''}: {remedy}"
    )
