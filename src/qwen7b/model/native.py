"""All layers of a packed model by one native call; `Layer`, over the same weights, is its readable twin."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from qwen7b.kernels import native
from qwen7b.model.layers import Layer, Positions
from qwen7b.model.packed_cache import PackedCache
from qwen7b.quant import PackedLinear

if TYPE_CHECKING:
    from qwen7b.model.transformer import Transformer

_MANY_ROWS = 32
"""From so many on, a call runs one layer, so that a keyboard interrupt need not wait for all."""


class NativeLayers:
    """The layers' addresses, in the structures that the library reads, and the tensors that lie there."""

    def __init__(self, model: Transformer) -> None:
        config = model.config
        self.tensors = [*model.layers.parameters(), *model.layers.buffers()]
        self.addresses = self.current_addresses()
        layers = [_layer(cast(Layer, layer)) for layer in model.layers]
        self.model = native.Model(
            num_layers=config.num_layers,
            hidden_size=config.hidden_size,
            feed_forward_size=config.feed_forward_size,
            num_heads=config.num_heads,
            num_kv_heads=config.num_kv_heads,
            head_size=config.head_size,
            norm_epsilon=config.norm_epsilon,
            layers=(native.Layer * config.num_layers)(*layers),
        )

    def current_addresses(self) -> list[int]:
        """What is sent to another process is shared with it, and thereby moved to other memory."""
        return [tensor.data_ptr() for tensor in self.tensors]

    def run(
        self, x: Tensor, positions: Positions, positions_BT: Tensor, *, cache: PackedCache, counts: list[int]
    ) -> Tensor:
        """x (B, T, C) at `positions_BT` through all layers, in float32; new keys and values go into the cache."""
        library = native.library()
        assert library is not None
        num_new = x.shape[1]
        real_BT = torch.arange(num_new) < torch.tensor(counts)[:, None]
        rows = x.float()[real_BT]
        half = cache.config.head_size // 2
        sequences = torch.arange(len(counts), dtype=torch.int32)[:, None].expand(-1, num_new)[real_BT]
        places = positions_BT[real_BT].int()
        cosines, sines = (
            table[:, :, 0, :half].expand(len(counts), -1, -1)[real_BT].contiguous()
            for table in (positions.cos, positions.sin)
        )
        scales = positions.query_scale
        scales = None if scales is None else scales.flatten(1).expand(len(counts), -1)[real_BT].contiguous()
        step = native.Rows(
            num_rows=len(rows),
            sequences=sequences.data_ptr(),
            positions=places.data_ptr(),
            cosines=cosines.data_ptr(),
            sines=sines.data_ptr(),
            query_scales=None if scales is None else scales.data_ptr(),
        )
        num_layers = self.model.num_layers
        stride = 1 if len(rows) >= _MANY_ROWS else num_layers
        pointers = ctypes.byref(self.model), ctypes.byref(_structure(cache)), ctypes.byref(step)
        for first in range(0, num_layers, stride):
            library.qwen7b_run_layers(*pointers, first, first + stride, rows.data_ptr())
        result = torch.zeros(x.shape)
        result[real_BT] = rows
        return result


_KNOWN: WeakKeyDictionary[Transformer, NativeLayers] = WeakKeyDictionary()


def native_layers(model: Transformer) -> NativeLayers | None:
    """How to run a packed model natively; None where there is no library or the model is elsewhere."""
    if model.device.type != "cpu" or native.library() is None:
        return None
    known = _KNOWN.get(model)
    if known is None or known.addresses != known.current_addresses():
        known = _KNOWN[model] = NativeLayers(model)
    return known


def forget(model: Transformer) -> None:
    """The model has other tensors than before."""
    _KNOWN.pop(model, None)


def _linears(layer: Layer) -> list[PackedLinear]:
    attention, forward = layer.attention, layer.feed_forward
    return cast("list[PackedLinear]", [attention.qkv, attention.output, forward.gate, forward.up, forward.down])


def _layer(layer: Layer) -> native.Layer:
    qkv, output, gate, up, down = (native.Matrix.of(linear.matrix, linear.bias) for linear in _linears(layer))
    return native.Layer(
        attention_norm=layer.attention_norm.weight.data_ptr(),
        feed_forward_norm=layer.feed_forward_norm.weight.data_ptr(),
        qkv=qkv,
        output=output,
        gate=gate,
        up=up,
        down=down,
    )


_STRUCTURES: WeakKeyDictionary[PackedCache, native.Cache] = WeakKeyDictionary()


def _structure(cache: PackedCache) -> native.Cache:
    """A view of a cache, made once: its tensors stay where they are."""
    known = _STRUCTURES.get(cache)
    if known is None:
        known = _STRUCTURES[cache] = _view(cache)
    return known


def _view(cache: PackedCache) -> native.Cache:
    layers = []
    for index, (tensors, num_slots) in enumerate(zip(cache.layers, cache.num_slots, strict=True)):
        assert all(tensor.is_contiguous() for tensor in tensors.values())
        layer = native.CacheLayer(num_slots=num_slots, window=cache.config.window(index))
        for name, tensor in tensors.items():
            setattr(layer, name, tensor.data_ptr())
        if cache.balance is not None:
            layer.balance = cache.balance.factors[index].data_ptr()
            layer.wide_axes = cache.balance.wide_axes[index].data_ptr()
        layers.append(layer)
    bits = 16 if cache.balance is None else 8
    return native.Cache(bits, (native.CacheLayer * len(layers))(*layers))
