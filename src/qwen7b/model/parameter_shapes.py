"""The names and shapes of a model's parameters, computed from its config without building a module."""

from __future__ import annotations

import math
from collections.abc import Mapping

from qwen7b.config import ModelConfig


def parameter_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """The shape of every parameter of a `Transformer` by its name, in the module's own order.

    A tied head is the embedding and has no entry.
    """
    width, inner = config.hidden_size, config.num_heads * config.head_size
    qkv_rows = inner + 2 * config.num_kv_heads * config.head_size
    layer = {"attention_norm.weight": (width,), "attention.qkv.weight": (qkv_rows, width)}
    if config.qkv_bias:
        layer["attention.qkv.bias"] = (qkv_rows,)
    layer |= {
        "attention.output.weight": (width, inner),
        "feed_forward_norm.weight": (width,),
        "feed_forward.gate.weight": (config.feed_forward_size, width),
        "feed_forward.up.weight": (config.feed_forward_size, width),
        "feed_forward.down.weight": (width, config.feed_forward_size),
    }
    shapes: dict[str, tuple[int, ...]] = {"embedding.weight": (config.vocab_rows, width)}
    for index in range(config.num_layers):
        shapes |= {f"layers.{index}.{name}": shape for name, shape in layer.items()}
    shapes["norm.weight"] = (width,)
    if not config.tied_head:
        shapes["head.weight"] = (config.vocab_rows, width)
    return shapes


def count_weights(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """How many numbers the parameters of these shapes hold."""
    return sum(math.prod(shape) for shape in shapes.values())
