"""The structures of the C interface (kernels/qwen7b.h) in ctypes."""

from __future__ import annotations

import ctypes

from torch import Tensor

from qwen7b.kernels import constants
from qwen7b.kernels.matrix import PackedMatrix

_long, _pointer = ctypes.c_int64, ctypes.c_void_p


class CMatrix(ctypes.Structure):
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
    def of(cls, matrix: PackedMatrix, bias: Tensor | None = None, *, repacked: Tensor | None = None) -> CMatrix:
        """A view of the matrix: the tensors must outlive it. `repacked` is the result of `native.repack`."""
        return cls(
            matrix.num_rows,
            matrix.num_columns,
            matrix.bits,
            matrix.codes.data_ptr(),
            matrix.scales.data_ptr(),
            *(None if tensor is None else tensor.data_ptr() for tensor in (matrix.codebook, bias, repacked)),
        )


class CLayer(ctypes.Structure):
    _fields_ = [
        ("attention_norm", _pointer),
        ("feed_forward_norm", _pointer),
        ("qkv", CMatrix),
        ("output", CMatrix),
        ("gate", CMatrix),
        ("up", CMatrix),
        ("down", CMatrix),
    ]


class CModel(ctypes.Structure):
    _fields_ = [
        ("num_layers", _long),
        ("hidden_size", _long),
        ("feed_forward_size", _long),
        ("num_heads", _long),
        ("num_kv_heads", _long),
        ("head_size", _long),
        ("norm_epsilon", ctypes.c_float),
        ("layers", ctypes.POINTER(CLayer)),
    ]


class CCacheLayer(ctypes.Structure):
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


class CCache(ctypes.Structure):
    _fields_ = [("bits", _long), ("layers", ctypes.POINTER(CCacheLayer))]


class CRows(ctypes.Structure):
    _fields_ = [
        ("num_rows", _long),
        ("sequences", _pointer),
        ("positions", _pointer),
        ("cosines", _pointer),
        ("sines", _pointer),
        ("query_scales", _pointer),
    ]


class CAddition(ctypes.Structure):
    _fields_ = [("rank", _long), ("a", _pointer), ("b", _pointer)]


class CLayerAdditions(ctypes.Structure):
    _fields_ = [(name, CAddition) for name in ("qkv", "output", "gate", "up", "down")]


class CAdapter(ctypes.Structure):
    _fields_ = [("max_rank", _long), ("layers", ctypes.POINTER(CLayerAdditions))]


class CArray(ctypes.Structure):
    _fields_ = [("values", _pointer), ("bits", _long)]

    @classmethod
    def of(cls, tensor: Tensor | None) -> CArray:
        """A view of the tensor, of float32 or bfloat16, which must outlive it; None stands for what is left out."""
        return cls(None, 32) if tensor is None else cls(tensor.data_ptr(), 8 * tensor.itemsize)


class CContract(ctypes.Structure):
    """The constants and sizes that the library and its caller must agree on."""

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
    def ours(cls) -> CContract:
        """The contract of this package."""
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
            matrix_bytes=ctypes.sizeof(CMatrix),
            layer_bytes=ctypes.sizeof(CLayer),
            model_bytes=ctypes.sizeof(CModel),
            cache_layer_bytes=ctypes.sizeof(CCacheLayer),
            cache_bytes=ctypes.sizeof(CCache),
            rows_bytes=ctypes.sizeof(CRows),
        )
