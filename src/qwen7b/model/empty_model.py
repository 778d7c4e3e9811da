"""The model without memory for its parameters."""

from __future__ import annotations

import torch

from qwen7b.config import ModelConfig
from qwen7b.model.transformer import Transformer


def empty_model(config: ModelConfig) -> Transformer:
    """The model with its parameters on the meta device, where they have names, types and shapes only."""
    with torch.device("meta"):
        return Transformer(config)
