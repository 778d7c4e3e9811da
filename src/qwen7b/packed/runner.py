"""Runs all layers of a packed model in one native call; `run_layers`, on the same weights, is its readable twin."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from functools import partial
from typing import Any, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from qwen7b.config import ModelConfig
from qwen7b.kernels import native, structures
from qwen7b.model.adapter_weights import AdapterWeights
from qwen7b.model.cache import Cache
from qwen7b.model.layers import Layer, run_layers
from qwen7b.model.rows import Rows
from qwen7b.packed.modules import PackedLinear
from qwen7b.packed.packed_cache import PackedSequenceCache

_MANY_ROWS = 32
"""With this many rows or more, a call runs a single layer, so that a keyboard interrupt need not wait for all."""


class NativeRunner:
    """Runs packed layers in the native library, on the CPU and with a packed cache; else `run_layers` does the work.

    It keeps the layers' addresses in the structures that the library reads, and checks at every run that the tensors
    still lie there, so that a replaced one is noticed.
    """

    def __init__(self, config: ModelConfig) -> None:
        self._config = config
        self._addresses: list[int] = []
        self._model: structures.CModel | None = None
        self._repacked: list[Tensor] = []  # matrices in the instruction set's own layout
        self._structures: WeakKeyDictionary[AdapterWeights, structures.CAdapter] = WeakKeyDictionary()

    def __reduce__(self) -> tuple[type[NativeRunner], tuple[ModelConfig]]:
        return NativeRunner, (self._config,)  # a copy finds the addresses of its own layers

    def __call__(self, layers: nn.ModuleList, x_RC: Tensor, rows: Rows, cache: Cache | None) -> Tensor:
        caches = _packed_caches(cache)
        if not caches or x_RC.device.type != "cpu" or (library := native.library()) is None:
            return run_layers(layers, x_RC, rows, cache)
        if (model := self._native_model(layers)) is None:
            return run_layers(layers, x_RC, rows, cache)
        result = x_RC.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
        half = self._config.head_size // 2
        cosines, sines = (table[:, 0, :half].contiguous() for table in (rows.cos, rows.sin))
        scales = None if rows.query_scale is None else rows.query_scale.contiguous()
        native_rows = structures.CRows(
            num_rows=len(result),
            sequences=rows.sequences.data_ptr(),
            positions=rows.positions.data_ptr(),
            cosines=cosines.data_ptr(),
            sines=sines.data_ptr(),
            query_scales=None if scales is None else scales.data_ptr(),
        )
        num_layers = self._config.num_layers
        stride = 1 if len(result) >= _MANY_ROWS else num_layers
        pointers = ctypes.byref(model), _addresses(caches), ctypes.byref(native_rows)
        run = partial(library.qwen7b_run_layers, *pointers)
        if rows.adapted:
            run = partial(library.qwen7b_run_adapted_layers, *pointers, self._adapters(rows))
        for first in range(0, num_layers, stride):
            run(first, first + stride, result.data_ptr())
        return result

    def _adapters(self, rows: Rows) -> ctypes.Array[ctypes.c_void_p]:
        """Where the structure of each row's adapter lies, if it has one."""
        addresses = (ctypes.c_void_p * len(rows.ids))()
        for adapted in rows.adapted:
            if adapted.adapter not in self._structures:
                self._structures[adapted.adapter] = _native_adapter(adapted.adapter)
            address = ctypes.addressof(self._structures[adapted.adapter])
            for row in adapted.numbers.tolist():
                addresses[row] = address
        return addresses

    def _native_model(self, layers: nn.ModuleList) -> structures.CModel | None:
        """The layers as the library reads them; None where one holds something other than packed weights."""
        addresses = _tensor_addresses(layers)
        if addresses != self._addresses:
            self._addresses = addresses
            self._repacked.clear()
            self._model = _make_native_model(self._config, layers, self._repacked)
        return self._model


def _packed_caches(cache: Cache | None) -> list[PackedSequenceCache]:
    """The caches of the sequences, or none of them where one is not packed."""
    sequences = [] if cache is None else cache.sequences
    packed = [sequence for sequence in sequences if isinstance(sequence, PackedSequenceCache)]
    return packed if len(packed) == len(sequences) else []


def _addresses(caches: list[PackedSequenceCache]) -> ctypes.Array[ctypes.c_void_p]:
    """Where the structure of each sequence's cache lies, which the cache keeps."""
    return (ctypes.c_void_p * len(caches))(*[ctypes.addressof(cache.structure()) for cache in caches])


def _tensor_addresses(layers: nn.ModuleList) -> list[int]:
    """The addresses of all tensors that the library reads; taken from dictionaries, as attribute access is slow."""
    addresses = []
    for layer in cast("Iterable[nn.Module]", layers._modules.values()):
        parts: dict[str, Any] = layer._modules
        for norm in (parts["attention_norm"], parts["feed_forward_norm"]):
            addresses.append(norm._parameters["weight"].data_ptr())
        for linear in (*parts["attention"]._modules.values(), *parts["feed_forward"]._modules.values()):
            addresses += [0 if tensor is None else tensor.data_ptr() for tensor in linear._buffers.values()]
    return addresses


def _make_native_model(config: ModelConfig, layers: nn.ModuleList, repacked: list[Tensor]) -> structures.CModel | None:
    """The layers as the library reads them; what is added to `repacked` has to live as long as the result."""
    linears = [_linears(cast(Layer, layer)) for layer in layers]
    if not all(isinstance(linear, PackedLinear) for group in linears for linear in group):
        return None
    packed_layers = [_native_layer(cast(Layer, layer), repacked) for layer in layers]
    return structures.CModel(
        num_layers=config.num_layers,
        hidden_size=config.hidden_size,
        feed_forward_size=config.feed_forward_size,
        num_heads=config.num_heads,
        num_kv_heads=config.num_kv_heads,
        head_size=config.head_size,
        norm_epsilon=config.norm_epsilon,
        layers=(structures.CLayer * config.num_layers)(*packed_layers),
    )


def _linears(layer: Layer) -> list[PackedLinear]:
    attention, forward = layer.attention, layer.feed_forward
    return cast("list[PackedLinear]", [attention.qkv, attention.output, forward.gate, forward.up, forward.down])


def _native_layer(layer: Layer, repacked: list[Tensor]) -> structures.CLayer:
    qkv, output, gate, up, down = (_native_matrix(linear, repacked) for linear in _linears(layer))
    return structures.CLayer(
        attention_norm=layer.attention_norm.weight.data_ptr(),
        feed_forward_norm=layer.feed_forward_norm.weight.data_ptr(),
        qkv=qkv,
        output=output,
        gate=gate,
        up=up,
        down=down,
    )


def _native_matrix(linear: PackedLinear, repacked: list[Tensor]) -> structures.CMatrix:
    own_layout = native.repack(linear.matrix)
    if own_layout is not None:
        repacked.append(own_layout)
    return structures.CMatrix.of(linear.matrix, linear.bias, repacked=own_layout)


def _native_adapter(adapter: AdapterWeights) -> structures.CAdapter:
    """An adapter as the library reads it, which must outlive the result."""
    layers = []
    for products in adapter.layers:
        additions = structures.CLayerAdditions()
        for module, product in products.items():
            assert product.a.dtype == product.b.dtype == torch.float32
            assert product.a.is_contiguous() and product.b.is_contiguous()
            addition = structures.CAddition(len(product.a), product.a.data_ptr(), product.b.data_ptr())
            setattr(additions, module.rpartition(".")[2], addition)
        layers.append(additions)
    max_rank = max((len(product.a) for products in adapter.layers for product in products.values()), default=0)
    return structures.CAdapter(max_rank, (structures.CLayerAdditions * len(layers))(*layers))
