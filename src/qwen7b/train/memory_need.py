"""What training a whole model needs of memory, said before anything is computed, with what would fit."""

from __future__ import annotations

import torch

from qwen7b.config import ModelConfig
from qwen7b.errors import ResourceError
from qwen7b.model.parameter_shapes import count_weights, parameter_shapes
from qwen7b.system.memory import available_bytes, gigabytes

BYTES_PER_WEIGHT = 16
"""A weight in float32, its gradient, and AdamW's two means."""
_LOGITS_BYTES = 100_000_000
"""The logits of a part of the rows, and their gradients."""


def training_bytes(config: ModelConfig, *, micro_rows: int, length: int, again: bool) -> int:
    """About what training needs: weights and optimizer exactly, what layers keep for the gradients roughly.

    For each token a layer keeps some 14 vectors of the hidden size and 4 of the feed-forward's; where layers are
    computed `again`, only what enters each, and all of one.
    """
    weights = count_weights(parameter_shapes(config)) * BYTES_PER_WEIGHT
    whole_layer = 14 * config.hidden_size + 4 * config.feed_forward_size
    kept = config.num_layers * config.hidden_size + whole_layer if again else config.num_layers * whole_layer
    return weights + _LOGITS_BYTES + 4 * kept * micro_rows * length


def require_training_memory(
    config: ModelConfig, *, micro_rows: int, length: int, again: bool, device: torch.device
) -> None:
    """Raise ResourceError where training does not fit, with the settings of the recipe that would."""
    available = available_bytes(device)
    needed = training_bytes(config, micro_rows=micro_rows, length=length, again=again)
    if needed <= available:
        return
    held = count_weights(parameter_shapes(config)) * BYTES_PER_WEIGHT
    remedy = "choose a smaller model, or a machine with more memory"
    for less_kept in (again, True):
        rows = micro_rows
        while rows >= 1 and training_bytes(config, micro_rows=rows, length=length, again=less_kept) > available:
            rows //= 2
        if rows:
            also = " and activation_checkpointing = true" if less_kept and not again else ""
            remedy = f"micro_rows = {rows}{also} would fit"
            break
    raise ResourceError(
        f"training needs about {gigabytes(needed)}, {gigabytes(held)} of it for weights and optimizer, but "
        f"{gigabytes(available)} are free: {remedy}"
    )
