"""A cache of 8- or 16-bit keys and values in the order that the native attention reads, and its plain reading.

Sixteen positions make a block, in which keys lie (D, 16), so that one load brings sixteen positions' numbers of one
axis, and values (16, D). int8 codes have a float16 scale for each span of D, of each position.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from qwen7b.config import ModelConfig
from qwen7b.kernels import LANES
from qwen7b.model.cache import Cache
from qwen7b.model.key_balance import NUM_WIDE, KeyBalance

MOST_HEAD_SIZE = 256


def scale_span(head_size: int) -> int:
    """Numbers of a key or value that share a scale."""
    return 16 if head_size % 32 else 32


def can_pack(config: ModelConfig) -> bool:
    """Whether such a model's keys and values fit the blocks."""
    return config.head_size % LANES == 0 and config.head_size <= MOST_HEAD_SIZE


class PackedCache(Cache):
    """A Cache whose dtype is float16, or int8 with scales; of each layer, with S slots:

    keys    (B, K, S/16, D, 16)    key_scales    float16 (B, K, S/16, D/span, 16)
    values  (B, K, S/16, 16, D)    value_scales  alike

    int8 keys are rounded as `balance` says, and their wide axes are in wide_keys, float16 (B, K, S/16, NUM_WIDE, 16).
    """

    balance: KeyBalance | None = None

    @staticmethod
    def _shapes(
        config: ModelConfig, *, batch_size: int, num_slots: int, dtype: torch.dtype
    ) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        blocks = (batch_size, config.num_kv_heads, -(-num_slots // LANES))
        shapes: dict[str, tuple[tuple[int, ...], torch.dtype]] = {
            "keys": ((*blocks, config.head_size, LANES), dtype),
            "values": ((*blocks, LANES, config.head_size), dtype),
        }
        if dtype == torch.int8:
            scales = ((*blocks, config.head_size // scale_span(config.head_size), LANES), torch.float16)
            shapes |= {"key_scales": scales, "value_scales": scales}
            shapes["wide_keys"] = ((*blocks, NUM_WIDE, LANES), torch.float16)
        return shapes

    def _with_rows(self, rows: slice | list[int]) -> Cache:
        view = super()._with_rows(rows)
        cast(PackedCache, view).balance = self.balance
        return view

    def _store(self, name: str, layer: int, rows: slice, start: int, fresh_BKTD: Tensor) -> None:
        slots = torch.arange(start, start + fresh_BKTD.shape[2])
        block, lane = slots // LANES, slots % LANES
        tensors = {name: tensor[rows] for name, tensor in self.layers[layer].items()}
        if self.balance is not None:
            fresh_BKTD = fresh_BKTD.float()
            if name == "keys":
                fresh_BKTD = fresh_BKTD / self.balance.factors[layer][:, None]
                axes = self._wide_axes(layer, like=fresh_BKTD)
                wide = fresh_BKTD.gather(-1, axes)
                tensors["wide_keys"][:, :, block, :, lane] = wide.permute(2, 0, 1, 3).half()  # indexed axes come first
                fresh_BKTD = fresh_BKTD.scatter(-1, axes, 0.0)
            spans = fresh_BKTD.reshape(*fresh_BKTD.shape[:-1], -1, scale_span(self.config.head_size))
            scales = (spans.abs().amax(dim=-1) / 127).half()  # (B, K, T, spans)
            inverse = torch.where(scales > 0, 1 / scales.float(), 0.0)
            fresh_BKTD = (spans * inverse[..., None]).clamp(-127, 127).round().flatten(-2)
            tensors[name.removesuffix("s") + "_scales"][:, :, block, :, lane] = scales.permute(2, 0, 1, 3)
        held = tensors[name]
        fresh = fresh_BKTD.permute(2, 0, 1, 3).to(held.dtype)
        if name == "keys":
            held[:, :, block, :, lane] = fresh
        else:
            held[:, :, block, lane] = fresh.permute(1, 2, 0, 3)

    def _read(self, name: str, layer: int, end: int) -> Tensor:
        tensors = self.layers[layer]
        held = tensors[name].float()
        numbers = held.transpose(-1, -2) if name == "keys" else held  # (B, K, S/16, 16, D)
        if self.balance is not None:
            scales = tensors[name.removesuffix("s") + "_scales"].float().transpose(-1, -2)
            numbers = numbers * scales.repeat_interleave(scale_span(self.config.head_size), dim=-1)
        numbers_BKSD = numbers.flatten(2, 3)
        if self.balance is not None and name == "keys":
            wide = tensors["wide_keys"].float().transpose(-1, -2).flatten(2, 3)
            numbers_BKSD = numbers_BKSD.scatter(-1, self._wide_axes(layer, like=numbers_BKSD), wide)
            numbers_BKSD = numbers_BKSD * self.balance.factors[layer][:, None]
        return numbers_BKSD[:, :, :end]

    def _wide_axes(self, layer: int, *, like: Tensor) -> Tensor:
        """(B, K, T, NUM_WIDE)"""
        assert self.balance is not None
        axes_KW = self.balance.wide_axes[layer].long()
        return axes_KW[None, :, None].expand(*like.shape[:3], -1)
