"""A cache of 8- or 16-bit keys and values in the order that the native attention reads, and how to unpack it.

Sixteen positions make a block, in which keys lie (D, 16), so that one load brings one axis of
sixteen positions, and values lie (16, D). int8 codes have a float16 scale for each span of D, of each position.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from qwen7b.config import ModelConfig
from qwen7b.kernels import structures
from qwen7b.kernels.constants import LANES, MAX_HEAD_SIZE, NUM_WIDE_AXES, SPAN
from qwen7b.kernels.matrix import num_blocks
from qwen7b.model.sequence_cache import NtkMode, SequenceCache, choose_cache_dtype
from qwen7b.model.transformer import Transformer
from qwen7b.packed.key_balance import KeyBalance


def scale_span(head_size: int) -> int:
    """How many numbers of a key or value share a scale."""
    return LANES if head_size % SPAN else SPAN


def can_pack(config: ModelConfig) -> bool:
    """Whether the keys and values of a model with this config fit the blocks."""
    return config.head_size % LANES == 0 and config.head_size <= MAX_HEAD_SIZE


class PackedSequenceCache(SequenceCache):
    """A SequenceCache whose dtype is float16, or int8 with scales. Each layer has, for S slots:

    keys    (K, S/16, D, 16)    key_scales    float16 (K, S/16, D/span, 16)
    values  (K, S/16, 16, D)    value_scales  alike

    int8 keys are rounded as `balance` says, and their wide axes are in `wide_keys`, float16
    (K, S/16, NUM_WIDE_AXES, 16).
    """

    block_size = LANES

    def __init__(self, config: ModelConfig, *, balance: KeyBalance | None = None, **options: Any) -> None:
        super().__init__(config, **options)
        self.balance = balance
        self._view: structures.CCache | None = None
        self._addresses: list[int] = []

    def structure(self) -> structures.CCache:
        """The cache as the library reads it; made again if the tensors have moved, for example into shared memory."""
        addresses = [tensor.data_ptr() for tensors in self.layers for tensor in tensors.values()]
        addresses += self.num_slots  # a layer that grew twice may lie where it lay first
        if self._view is None or addresses != self._addresses:
            self._view, self._addresses = self._make_view(), addresses
        return self._view

    def _make_view(self) -> structures.CCache:
        layers = []
        for index, (tensors, num_slots) in enumerate(zip(self.layers, self.num_slots, strict=True)):
            assert all(tensor.is_contiguous() for tensor in tensors.values())
            layer = structures.CCacheLayer(num_slots=num_slots, window=self.config.window(index))
            for name, tensor in tensors.items():
                setattr(layer, name, tensor.data_ptr())
            if self.balance is not None:
                layer.balance = self.balance.factors[index].data_ptr()
                layer.wide_axes = self.balance.wide_axes[index].data_ptr()
            layers.append(layer)
        bits = 16 if self.balance is None else 8
        return structures.CCache(bits, (structures.CCacheLayer * len(layers))(*layers))

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_view": None}  # a copy has other addresses

    @staticmethod
    def _shapes(
        config: ModelConfig, *, num_slots: int, dtype: torch.dtype
    ) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        blocks = (config.num_kv_heads, num_blocks(num_slots))
        shapes: dict[str, tuple[tuple[int, ...], torch.dtype]] = {
            "keys": ((*blocks, config.head_size, LANES), dtype),
            "values": ((*blocks, LANES, config.head_size), dtype),
        }
        if dtype == torch.int8:
            scales = ((*blocks, config.head_size // scale_span(config.head_size), LANES), torch.float16)
            shapes |= {"key_scales": scales, "value_scales": scales}
            shapes["wide_keys"] = ((*blocks, NUM_WIDE_AXES, LANES), torch.float16)
        return shapes

    def _store(self, name: str, layer: int, slot: int, new_KTD: Tensor) -> None:
        slots = torch.arange(slot, slot + new_KTD.shape[1])
        block, lane = slots // LANES, slots % LANES
        tensors = self.layers[layer]
        if self.balance is not None:
            new_KTD = new_KTD.float()
            if name == "keys":
                new_KTD = new_KTD / self.balance.factors[layer][:, None]
                axes = self._wide_axes(layer, like=new_KTD)
                wide = new_KTD.gather(-1, axes)
                tensors["wide_keys"][:, block, :, lane] = wide.transpose(0, 1).half()  # indexed axes come first
                new_KTD = new_KTD.scatter(-1, axes, 0.0)
            spans = new_KTD.reshape(*new_KTD.shape[:-1], -1, scale_span(self.config.head_size))
            scales = (spans.abs().amax(dim=-1) / 127).half()  # (K, T, spans)
            inverse = torch.where(scales > 0, 1 / scales.float(), 0.0)
            new_KTD = (spans * inverse[..., None]).clamp(-127, 127).round().flatten(-2)
            tensors[name.removesuffix("s") + "_scales"][:, block, :, lane] = scales.transpose(0, 1)
        stored = tensors[name]
        if name == "keys":
            stored[:, block, :, lane] = new_KTD.transpose(0, 1).to(stored.dtype)
        else:
            stored[:, block, lane] = new_KTD.to(stored.dtype)

    def _read(self, name: str, layer: int, end: int) -> Tensor:
        tensors = {name: tensor[:, : num_blocks(end)] for name, tensor in self.layers[layer].items()}
        numbers = tensors[name].float()  # large for a long sequence, so everything below works in place
        numbers = numbers.transpose(-1, -2) if name == "keys" else numbers  # (K, S/16, 16, D)
        if self.balance is not None:
            scales = tensors[name.removesuffix("s") + "_scales"].float().transpose(-1, -2)
            numbers *= scales.repeat_interleave(scale_span(self.config.head_size), dim=-1)
        numbers_KSD = numbers.flatten(1, 2)
        if self.balance is not None and name == "keys":
            wide = tensors["wide_keys"].float().transpose(-1, -2).flatten(1, 2)
            numbers_KSD.scatter_(-1, self._wide_axes(layer, like=numbers_KSD), wide)
            numbers_KSD *= self.balance.factors[layer][:, None]
        return numbers_KSD[:, :end]

    def _wide_axes(self, layer: int, *, like: Tensor) -> Tensor:
        """The indices (K, T, NUM_WIDE_AXES) of the wide axes, expanded to the other axes of `like`."""
        assert self.balance is not None
        axes_KW = self.balance.wide_axes[layer].long()
        return axes_KW[:, None].expand(*like.shape[:2], -1)


class PackedCacheFactory:
    """Makes the caches of a packed model, int8 by default; `sizes` are the pair sizes for its KeyBalance."""

    def __init__(self, sizes: Sequence[Tensor]) -> None:
        self.balance = KeyBalance.from_pair_sizes(sizes)

    def __call__(self, model: Transformer, *, capacity: int, ntk: NtkMode) -> PackedSequenceCache:
        dtype = _choose_dtype(model)
        return PackedSequenceCache.empty(
            model.config,
            capacity=capacity,
            ntk=ntk,
            dtype=dtype,
            device=model.device,
            balance=self.balance.to(model.device) if dtype == torch.int8 else None,
        )

    def bytes_needed(self, model: Transformer, *, capacity: int) -> int:
        return PackedSequenceCache.bytes_needed(model.config, capacity=capacity, dtype=_choose_dtype(model))


def _choose_dtype(model: Transformer) -> torch.dtype:
    return choose_cache_dtype(model.cache_dtype, (torch.int8, torch.float16))
