"""The structures of the C interface (kernels/qwen7b.h) in ctypes."""

from __future__ import annotations

import ctypes

from torch import Tensor

from qwen7b.kernels import constants
from qwen7b.kernels.matrix import PackedMatrix

_long, _pointer = ctypes.c_int64, ctypes.c_void_p


class Matrix(ctypes.Structure):
    _fields_ = [
        ("rows", _long),
        ("columns", _long),
        ("bits", _long),
        ("codes", _pointer),
        ("scales", _pointer),
        ("codebook", _pointer),
        ("bias", _pointer),
        ("repacked", _pointer),
    ]

    @classmethod
    def of(cls, matrix: PackedMatrix, bias: Tensor | None = None, *, repacked: Tensor | None = None) -> Matrix:
        """A view: the tensors must outlive it. `repacked` is what `native.repack` made of the matrix."""
        return cls(
            matrix.num_rows,
            matrix.num_columns,
            matrix.bits,
            matrix.codes.data_ptr(),
            matrix.scales.data_ptr(),
            *(None if tensor is None else tensor.data_ptr() for tensor in (matrix.codebook, bias, repacked)),
        )


class Layer(ctypes.Structure):
    _fields_ = [
        ("attention_norm", _pointer),
        ("feed_forward_norm", _pointer),
        ("qkv", Matrix),
        ("output", Matrix),
        ("gate", Matrix),
        ("up", Matrix),
        ("down", Matrix),
    ]


class Model(ctypes.Structure):
    _fields_ = [
        ("num_layers", _long),
        ("hidden_size", _long),
        ("feed_forward_size", _long),
        ("num_heads", _long),
        ("num_kv_heads", _long),
        ("head_size", _long),
        ("norm_epsilon", ctypes.c_float),
        ("layers", ctypes.POINTER(Layer)),
    ]


class CacheLayer(ctypes.Structure):
    _fields_ = [
        ("keys", _pointer),
        ("values", _pointer),
        ("key_scales", _pointer),
        ("value_scales", _pointer),
        ("wide_keys", _pointer),
        ("balance", _pointer),
        ("wide_axes", _pointer),
        ("num_slots", _long),
        ("window", _long),
    ]


class Cache(ctypes.Structure):
    _fields_ = [("bits", _long), ("layers", ctypes.POINTER(CacheLayer))]


class Rows(ctypes.Structure):
    _fields_ = [
        ("num_rows", _long),
        ("sequences", _pointer),
        ("positions", _pointer),
        ("cosines", _pointer),
        ("sines", _pointer),
        ("query_scales", _pointer),
    ]


class Contract(ctypes.Structure):
    """What the library and its caller must agree on."""

    _fields_ = [
        (name, _long)
        for name in (
            "contract_bytes",
            "interface_version",
            "group",
            "lanes",
            "chunk",
            "span",
            "max_head_size",
            "num_wide_axes",
            "max_threads",
            "matrix_bytes",
            "layer_bytes",
            "model_bytes",
            "cache_layer_bytes",
            "cache_bytes",
            "rows_bytes",
        )
    ]

    @classmethod
    def ours(cls) -> Contract:
        """As this package has it."""
        return cls(
            contract_bytes=ctypes.sizeof(cls),
            interface_version=constants.INTERFACE_VERSION,
            group=constants.GROUP,
            lanes=constants.LANES,
            chunk=constants.CHUNK,
            span=constants.SPAN,
            max_head_size=constants.MAX_HEAD_SIZE,
            num_wide_axes=constants.NUM_WIDE_AXES,
            max_threads=constants.MAX_THREADS,
            matrix_bytes=ctypes.sizeof(Matrix),
            layer_bytes=ctypes.sizeof(Layer),
            model_bytes=ctypes.sizeof(Model),
            cache_layer_bytes=ctypes.sizeof(CacheLayer),
            cache_bytes=ctypes.sizeof(Cache),
            rows_bytes=ctypes.sizeof(Rows),
        )
