"""A new model's first weights: GPT-2's way.

Matrices are normal with a deviation of 0.02; those that write to the residual stream (attention's output and the
feed-forward's down) are smaller by the root of 2 x layers, the number of their sums, so that the stream does not grow
with depth. Norms are 1, biases 0. https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf,
section 2.3; Qwen's own initialization is not published beyond `initializer_range`, which is 0.02.
"""

from __future__ import annotations

import math

import torch

from qwen7b.config import ModelConfig
from qwen7b.model import Transformer
from qwen7b.model.empty_model import empty_model
from qwen7b.train.ranks import ALONE, Ranks, fill

DEVIATION = 0.02
_INTO_RESIDUAL = ("attention.output.weight", "feed_forward.down.weight")


@torch.no_grad()
def new_model(
    config: ModelConfig,
    *,
    seed: int,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    ranks: Ranks = ALONE,
) -> Transformer:
    """A model with random weights in float32; the same for the same seed, whatever the device and the ranks.

    Ranks hold their own rows only, and compute products in `dtype`.
    """
    generator = torch.Generator().manual_seed(seed)
    model = empty_model(config)
    ranks.shard(model, dtype=dtype)
    model.to_empty(device=device)
    if config.tied_head:
        model.head.weight = model.embedding.weight
    for name, parameter in model.named_parameters():
        if parameter.dim() < 2:
            parameter.fill_(0.0 if name.endswith(".bias") else 1.0)
            continue
        deviation = DEVIATION / math.sqrt(2 * config.num_layers) if name.endswith(_INTO_RESIDUAL) else DEVIATION
        fill(parameter, torch.empty(parameter.shape).normal_(std=deviation, generator=generator), ranks=ranks)
    return model.eval()
