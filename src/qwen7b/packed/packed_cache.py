"""A cache of 8- or 16-bit keys and values in the order that the native attention reads, and how to unpack it.

Sixteen positions make a block, in which keys lie (D, 16), so that one load brings one axis of
sixteen positions, and values lie (16, D). int8 codes have a float16 scale for each span of D, of each position.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor

from qwen7b.config import ModelConfig
from qwen7b.kernels import structures
from qwen7b.kernels.constants import LANES, MAX_HEAD_SIZE, NUM_WIDE_AXES, SPAN
from qwen7b.kernels.matrix import num_blocks
from qwen7b.model.cache import Cache, NtkMode, choose_cache_dtype
from qwen7b.model.transformer import Transformer
from qwen7b.packed.key_balance import KeyBalance


def scale_span(head_size: int) -> int:
    """How many numbers of a key or value share a scale."""
    return LANES if head_size % SPAN else SPAN


def can_pack(config: ModelConfig) -> bool:
    """Whether the keys and values of a model with this config fit the blocks."""
    return config.head_size % LANES == 0 and config.head_size <= MAX_HEAD_SIZE


class PackedCache(Cache):
    """A Cache whose dtype is float16, or int8 with scales. Each layer has, for S slots:

    keys    (B, K, S/16, D, 16)    key_scales    float16 (B, K, S/16, D/span, 16)
    values  (B, K, S/16, 16, D)    value_scales  alike

    int8 keys are rounded as `balance` says, and their wide axes are in `wide_keys`, float16
    (B, K, S/16, NUM_WIDE_AXES, 16).
    """

    def __init__(self, config: ModelConfig, *, balance: KeyBalance | None = None, **options: Any) -> None:
        super().__init__(config, **options)
        self.balance = balance
        self._view: structures.Cache | None = None
        self._addresses: list[int] = []

    def structure(self) -> structures.Cache:
        """The cache as the library reads it; made again if the tensors have moved, for example into shared memory."""
        addresses = [tensor.data_ptr() for tensors in self.layers for tensor in tensors.values()]
        if self._view is None or addresses != self._addresses:
            self._view, self._addresses = self._make_view(), addresses
        return self._view

    def _make_view(self) -> structures.Cache:
        layers = []
        for index, (tensors, num_slots) in enumerate(zip(self.layers, self.num_slots, strict=True)):
            assert all(tensor.is_contiguous() for tensor in tensors.values())
            layer = structures.CacheLayer(num_slots=num_slots, window=self.config.window(index))
            for name, tensor in tensors.items():
                setattr(layer, name, tensor.data_ptr())
            if self.balance is not None:
                layer.balance = self.balance.factors[index].data_ptr()
                layer.wide_axes = self.balance.wide_axes[index].data_ptr()
            layers.append(layer)
        bits = 16 if self.balance is None else 8
        return structures.Cache(bits, (structures.CacheLayer * len(layers))(*layers))

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_view": None}  # a copy has other addresses

    @staticmethod
    def _shapes(
        config: ModelConfig, *, batch_size: int, num_slots: int, dtype: torch.dtype
    ) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        blocks = (batch_size, config.num_kv_heads, num_blocks(num_slots))
        shapes: dict[str, tuple[tuple[int, ...], torch.dtype]] = {
            "keys": ((*blocks, config.head_size, LANES), dtype),
            "values": ((*blocks, LANES, config.head_size), dtype),
        }
        if dtype == torch.int8:
            scales = ((*blocks, config.head_size // scale_span(config.head_size), LANES), torch.float16)
            shapes |= {"key_scales": scales, "value_scales": scales}
            shapes["wide_keys"] = ((*blocks, NUM_WIDE_AXES, LANES), torch.float16)
        return shapes

    def _with_rows(self, rows: slice | list[int], **options: Any) -> Self:
        return super()._with_rows(rows, balance=self.balance, **options)

    def _store(self, name: str, layer: int, sequences: slice, start: int, new_GKTD: Tensor) -> None:
        slots = torch.arange(start, start + new_GKTD.shape[2])
        block, lane = slots // LANES, slots % LANES
        tensors = {name: tensor[sequences] for name, tensor in self.layers[layer].items()}
        if self.balance is not None:
            new_GKTD = new_GKTD.float()
            if name == "keys":
                new_GKTD = new_GKTD / self.balance.factors[layer][:, None]
                axes = self._wide_axes(layer, like=new_GKTD)
                wide = new_GKTD.gather(-1, axes)
                tensors["wide_keys"][:, :, block, :, lane] = wide.permute(2, 0, 1, 3).half()  # indexed axes come first
                new_GKTD = new_GKTD.scatter(-1, axes, 0.0)
            spans = new_GKTD.reshape(*new_GKTD.shape[:-1], -1, scale_span(self.config.head_size))
            scales = (spans.abs().amax(dim=-1) / 127).half()  # (G, K, T, spans)
            inverse = torch.where(scales > 0, 1 / scales.float(), 0.0)
            new_GKTD = (spans * inverse[..., None]).clamp(-127, 127).round().flatten(-2)
            tensors[name.removesuffix("s") + "_scales"][:, :, block, :, lane] = scales.permute(2, 0, 1, 3)
        stored = tensors[name]
        codes = new_GKTD.permute(2, 0, 1, 3).to(stored.dtype)
        if name == "keys":
            stored[:, :, block, :, lane] = codes
        else:
            stored[:, :, block, lane] = codes.permute(1, 2, 0, 3)

    def _read(self, name: str, layer: int, sequences: slice, end: int) -> Tensor:
        tensors = {name: tensor[sequences] for name, tensor in self.layers[layer].items()}
        numbers = tensors[name].float()  # large for a long sequence, so everything below works in place
        numbers = numbers.transpose(-1, -2) if name == "keys" else numbers  # (G, K, S/16, 16, D)
        if self.balance is not None:
            scales = tensors[name.removesuffix("s") + "_scales"].float().transpose(-1, -2)
            numbers *= scales.repeat_interleave(scale_span(self.config.head_size), dim=-1)
        numbers_GKSD = numbers.flatten(2, 3)
        if self.balance is not None and name == "keys":
            wide = tensors["wide_keys"].float().transpose(-1, -2).flatten(2, 3)
            numbers_GKSD.scatter_(-1, self._wide_axes(layer, like=numbers_GKSD), wide)
            numbers_GKSD *= self.balance.factors[layer][:, None]
        return numbers_GKSD[:, :, :end]

    def _wide_axes(self, layer: int, *, like: Tensor) -> Tensor:
        """The indices (G, K, T, NUM_WIDE_AXES) of the wide axes, expanded to the other axes of `like`."""
        assert self.balance is not None
        axes_KW = self.balance.wide_axes[layer].long()
        return axes_KW[None, :, None].expand(*like.shape[:3], -1)


class PackedCacheFactory:
    """Makes the caches of a packed model, int8 by default; `sizes` are the pair sizes for its KeyBalance."""

    def __init__(self, sizes: Sequence[Tensor]) -> None:
        self.balance = KeyBalance.from_pair_sizes(sizes)

    def __call__(self, model: Transformer, *, batch_size: int, max_length: int, ntk: NtkMode) -> PackedCache:
        dtype = choose_cache_dtype(model.cache_dtype, [torch.int8, torch.float16])
        return PackedCache.empty(
            model.config,
            batch_size=batch_size,
            max_length=max_length,
            ntk=ntk,
            dtype=dtype,
            device=model.device,
            balance=self.balance.to(model.device) if dtype == torch.int8 else None,
        )
