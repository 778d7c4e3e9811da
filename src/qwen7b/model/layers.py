"""The layers of the decoder: normalization, attention and feed-forward, over the rows of a pass."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qwen7b.config import ModelConfig
from qwen7b.model.cache import Cache
from qwen7b.model.masks import attention_mask
from qwen7b.model.rotary import rotate
from qwen7b.model.rows import Rows


class Linear(nn.Linear):
    """nn.Linear without its random initialization on the meta device, which takes long although nothing is stored."""

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
    """Self-attention; query heads share key-value heads in groups of H/K."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.head_size = config.head_size
        self.num_heads, self.num_kv_heads = config.num_heads, config.num_kv_heads
        inner = config.num_heads * config.head_size
        self.qkv = Linear(config.hidden_size, inner + 2 * config.num_kv_heads * config.head_size, bias=config.qkv_bias)
        self.output = Linear(inner, config.hidden_size, bias=False)

    def forward(self, x_RC: Tensor, rows: Rows, cache: Cache | None) -> Tensor:
        joined = rows.adapt(self.qkv(x_RC), x_RC, layer=self.layer, module="attention.qkv")
        sizes = [self.num_heads, self.num_kv_heads, self.num_kv_heads]
        query_RHD, key_RKD, value_RKD = torch.split(joined.view(len(joined), -1, self.head_size), sizes, dim=1)
        query_RHD = rotate(query_RHD, cos=rows.cos, sin=rows.sin)
        key_RKD = rotate(key_RKD, cos=rows.cos, sin=rows.sin)
        if rows.query_scale is not None:
            query_RHD = query_RHD * rows.query_scale.to(query_RHD.dtype)
        mixed = []
        for group in rows.groups:
            key_GKSD, value_GKSD = (group.cut(new_RKD).transpose(1, 2) for new_RKD in (key_RKD, value_RKD))
            if cache is not None:
                sequence = cache.sequences[group.first_sequence]  # the group's only one
                held = sequence.write(self.layer, group.start, key_GKSD[0], value_GKSD[0])
                key_GKSD, value_GKSD = (held_KSD[None] for held_KSD in held)
            mask = attention_mask(rows, group, layer=self.layer, cache=cache)
            mixed.append(attend(group.cut(query_RHD).transpose(1, 2), key_GKSD, value_GKSD, mask=mask))
        mixed_RC = torch.cat(mixed)
        return rows.adapt(self.output(mixed_RC), mixed_RC, layer=self.layer, module="attention.output")


def attend(query_GHTD: Tensor, key_GKSD: Tensor, value_GKSD: Tensor, *, mask: Tensor | None) -> Tensor:
    """What the heads of G sequences read (G · T, H · D); without a mask each token reads all up to itself."""
    mixed_GHTD = F.scaled_dot_product_attention(
        query_GHTD,
        key_GKSD,
        value_GKSD,
        attn_mask=mask,
        is_causal=mask is None and query_GHTD.shape[2] > 1,
        enable_gqa=query_GHTD.shape[1] != key_GKSD.shape[1],
    )
    return mixed_GHTD.transpose(1, 2).flatten(2).flatten(0, 1)


class FeedForward(nn.Module):
    """SwiGLU: down(up(x) · silu(gate(x))). https://arxiv.org/abs/2002.05202"""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.gate = Linear(config.hidden_size, config.feed_forward_size, bias=False)
        self.up = Linear(config.hidden_size, config.feed_forward_size, bias=False)
        self.down = Linear(config.feed_forward_size, config.hidden_size, bias=False)

    def forward(self, x_RC: Tensor, rows: Rows) -> Tensor:
        gate = rows.adapt(self.gate(x_RC), x_RC, layer=self.layer, module="feed_forward.gate")
        up = rows.adapt(self.up(x_RC), x_RC, layer=self.layer, module="feed_forward.up")
        hidden = up * F.silu(gate)
        return rows.adapt(self.down(hidden), hidden, layer=self.layer, module="feed_forward.down")


class Layer(nn.Module):
    """One decoder layer: attention and feed-forward each normalize first and add to the residual stream."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.hidden_size, epsilon=config.norm_epsilon)
        self.attention = Attention(config, layer)
        self.feed_forward_norm = RMSNorm(config.hidden_size, epsilon=config.norm_epsilon)
        self.feed_forward = FeedForward(config, layer)

    def forward(self, x_RC: Tensor, rows: Rows, cache: Cache | None) -> Tensor:
        x_RC = x_RC + self.attention(self.attention_norm(x_RC), rows, cache)
        return x_RC + self.feed_forward(self.feed_forward_norm(x_RC), rows)  # type: ignore[no-any-return]


def run_layers(layers: Iterable[nn.Module], x_RC: Tensor, rows: Rows, cache: Cache | None) -> Tensor:
    """Take embedded rows through all layers in order; their keys and values go into the cache."""
    for layer in layers:
        x_RC = layer(x_RC, rows, cache)
    return x_RC
