"""The layers of the decoder: normalization, attention and feed-forward."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qwen7b.config import ModelConfig
from qwen7b.model.cache import Cache
from qwen7b.model.rotary import rotate


@dataclass(frozen=True, kw_only=True, slots=True)
class Positions:
    """What one pass knows about where its queries stand; computed once and shared by all layers."""

    cos: Tensor
    """(B, T, 1, D) float32"""
    sin: Tensor
    query_scale: Tensor | None
    """LogN factors (B, T, 1, 1), or None where all are 1."""


class Linear(nn.Linear):
    """torch's own, which takes long to draw weights on the meta device, where there are none."""

    def reset_parameters(self) -> None:
        if not self.weight.is_meta:
            super().reset_parameters()


class RMSNorm(nn.Module):
    """x / sqrt(mean(x²) + epsilon) in float32, cast back, times a weight. https://arxiv.org/abs/1910.07467"""

    def __init__(self, size: int, *, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.epsilon)).to(x.dtype) * self.weight


class Attention(nn.Module):
    """Self-attention; query heads share key-value heads in groups of H/K.

    A mask (B or 1, 1, T, S) is true where a query may see a key; None lets query t see the keys up to t, and a single
    query all of them. Where weights are packed, `pair_sizes` is what a `KeyBalance` is made from.
    """

    pair_sizes: Tensor | None

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.head_size = config.head_size
        self.num_heads, self.num_kv_heads = config.num_heads, config.num_kv_heads
        inner = config.num_heads * config.head_size
        self.qkv = Linear(config.hidden_size, inner + 2 * config.num_kv_heads * config.head_size, bias=config.qkv_bias)
        self.output = Linear(inner, config.hidden_size, bias=False)
        self.register_buffer("pair_sizes", None, persistent=False)

    def forward(
        self, x_BTC: Tensor, positions: Positions, *, mask: Tensor | None, layer: int, cache: Cache | None
    ) -> Tensor:
        qkv = self.qkv(x_BTC).unflatten(-1, (-1, self.head_size))
        query_BTHD, key_BTKD, value_BTKD = qkv.split([self.num_heads, self.num_kv_heads, self.num_kv_heads], dim=2)
        query_BTHD = rotate(query_BTHD, cos=positions.cos, sin=positions.sin)
        key_BTKD = rotate(key_BTKD, cos=positions.cos, sin=positions.sin)
        if positions.query_scale is not None:
            query_BTHD = query_BTHD * positions.query_scale.to(query_BTHD.dtype)
        if cache is None:
            key_BKSD, value_BKSD = key_BTKD.transpose(1, 2), value_BTKD.transpose(1, 2)
        else:
            key_BKSD, value_BKSD = cache.write(layer, key_BTKD, value_BTKD)
        mixed_BHTD = F.scaled_dot_product_attention(
            query_BTHD.transpose(1, 2),
            key_BKSD,
            value_BKSD,
            attn_mask=mask,
            is_causal=mask is None and x_BTC.shape[1] > 1,
            enable_gqa=self.num_heads != self.num_kv_heads,
        )
        return self.output(mixed_BHTD.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """SwiGLU: down(up(x) · silu(gate(x))). https://arxiv.org/abs/2002.05202"""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate = Linear(config.hidden_size, config.feed_forward_size, bias=False)
        self.up = Linear(config.hidden_size, config.feed_forward_size, bias=False)
        self.down = Linear(config.feed_forward_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.up(x) * F.silu(self.gate(x)))  # type: ignore[no-any-return]


class Layer(nn.Module):
    """One decoder layer: both halves normalize first and add to the residual stream."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.hidden_size, epsilon=config.norm_epsilon)
        self.attention = Attention(config)
        self.feed_forward_norm = RMSNorm(config.hidden_size, epsilon=config.norm_epsilon)
        self.feed_forward = FeedForward(config)

    def forward(
        self, x: Tensor, positions: Positions, *, mask: Tensor | None, layer: int, cache: Cache | None
    ) -> Tensor:
        x = x + self.attention(self.attention_norm(x), positions, mask=mask, layer=layer, cache=cache)
        return x + self.feed_forward(self.feed_forward_norm(x))  # type: ignore[no-any-return]
