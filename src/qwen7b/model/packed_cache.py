"""A cache of 8- or 16-bit keys and values in the order that the native attention reads, and its plain reading.

Sixteen positions make a block, in which keys lie (D, 16), so that one load brings sixteen positions' numbers of one
axis, and values (16, D). int8 codes have a float16 scale for each span of D, of each position.
"""

from __future__ import annotations

import torch
from torch import Tensor

from qwen7b.config import ModelConfig
from qwen7b.kernels import LANES
from qwen7b.model.cache import Cache

MOST_HEAD_SIZE = 256


def scale_span(head_size: int) -> int:
    """Numbers of a key or value that share a scale."""
    return 16 if head_size % 32 else 32


def can_pack(config: ModelConfig) -> bool:
    """Whether such a model's keys and values fit the blocks."""
    return config.head_size % LANES == 0 and config.head_size <= MOST_HEAD_SIZE


class PackedCache(Cache):
    """A Cache whose dtype is int8 (with scales) or float16.

    keys    (layer, B, K, S/16, D, 16)            key_scales    float16 (layer, B, K, S/16, D/span, 16)
    values  (layer, B, K, S/16, 16, D)            value_scales  alike
    """

    @staticmethod
    def _shapes(
        config: ModelConfig, *, batch_size: int, max_length: int, dtype: torch.dtype
    ) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        blocks = (config.num_layers, batch_size, config.num_kv_heads, -(-max_length // LANES))
        shapes: dict[str, tuple[tuple[int, ...], torch.dtype]] = {
            "keys": ((*blocks, config.head_size, LANES), dtype),
            "values": ((*blocks, LANES, config.head_size), dtype),
        }
        if dtype == torch.int8:
            scales = ((*blocks, config.head_size // scale_span(config.head_size), LANES), torch.float16)
            shapes |= {"key_scales": scales, "value_scales": scales}
        return shapes

    @property
    def bits(self) -> int:
        return 8 * self.tensors["keys"].itemsize

    def _store(self, name: str, layer: int, rows: slice, start: int, fresh_BKTD: Tensor) -> None:
        positions = torch.arange(start, start + fresh_BKTD.shape[2])
        block, lane = positions // LANES, positions % LANES
        if self.bits == 8:
            spans = fresh_BKTD.float().reshape(*fresh_BKTD.shape[:-1], -1, scale_span(self.config.head_size))
            scales = (spans.abs().amax(dim=-1) / 127).half()  # (B, K, T, spans)
            inverse = torch.where(scales > 0, 1 / scales.float(), 0.0)
            fresh_BKTD = (spans * inverse[..., None]).clamp(-127, 127).round().flatten(-2)
            kept = self.tensors[name.removesuffix("s") + "_scales"][layer, rows]
            kept[:, :, block, :, lane] = scales.permute(2, 0, 1, 3)  # indexed axes come first
        held = self.tensors[name][layer, rows]
        fresh = fresh_BKTD.permute(2, 0, 1, 3).to(held.dtype)
        if name == "keys":
            held[:, :, block, :, lane] = fresh
        else:
            held[:, :, block, lane] = fresh.permute(1, 2, 0, 3)

    def _read(self, name: str, layer: int, end: int) -> Tensor:
        held = self.tensors[name][layer].float()
        numbers = held.transpose(-1, -2) if name == "keys" else held  # (B, K, S/16, 16, D)
        if self.bits == 8:
            scales = self.tensors[name.removesuffix("s") + "_scales"][layer].float().transpose(-1, -2)
            numbers = numbers * scales.repeat_interleave(scale_span(self.config.head_size), dim=-1)
        return numbers.flatten(2, 3)[:, :, :end]
