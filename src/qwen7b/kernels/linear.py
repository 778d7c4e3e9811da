"""Products with a packed matrix: by the native kernel, or by its readable twin where there is none."""

from __future__ import annotations

import ctypes

import torch
import torch.nn.functional as F
from torch import Tensor

from qwen7b.kernels.constants import GROUP
from qwen7b.kernels.matrix import PackedMatrix, padded_to_groups
from qwen7b.kernels.native import library
from qwen7b.kernels.structures import CMatrix


def quantize_activations(x: Tensor) -> tuple[Tensor, Tensor]:
    """Quantize x (..., K), K a multiple of GROUP, to codes from -127 to 127 in float32, and scales (..., K/GROUP)."""
    groups = x.float().reshape(*x.shape[:-1], -1, GROUP)
    scales = groups.abs().amax(dim=-1) / 127
    # A smaller scale has no finite inverse.
    inverse = torch.where(scales >= torch.finfo(torch.float32).tiny, 1 / scales, 0.0)
    return (groups * inverse[..., None]).round().flatten(-2), scales


def linear_reference(x: Tensor, matrix: PackedMatrix) -> Tensor:
    """x (..., K), rounded to int8 with one scale a group, times the transposed matrix: float32 (..., N)."""
    codes, scales = quantize_activations(padded_to_groups(x))
    rounded = (codes * scales.repeat_interleave(GROUP, dim=-1))[..., : x.shape[-1]]
    return F.linear(rounded, matrix.dequantize())


def _product(
    x: Tensor, num_rows: int, codes: Tensor, scales: Tensor, codebook: Tensor | None, bias: Tensor | None
) -> Tensor:
    matrix = PackedMatrix(num_rows=num_rows, num_columns=x.shape[-1], codes=codes, scales=scales, codebook=codebook)
    loaded = library() if x.device.type == "cpu" else None
    if loaded is None:
        product = linear_reference(x, matrix)
        return product if bias is None else product + bias
    x = x.float().contiguous()
    y = torch.empty(*x.shape[:-1], num_rows)
    loaded.qwen7b_linear(ctypes.byref(CMatrix.of(matrix, bias)), x.data_ptr(), x.numel() // x.shape[-1], y.data_ptr())
    return y


_operator = torch.library.custom_op("qwen7b::linear", _product, mutates_args=())


@_operator.register_fake
def _(x: Tensor, num_rows: int, codes: Tensor, scales: Tensor, codebook: Tensor | None, bias: Tensor | None) -> Tensor:
    return x.new_empty((*x.shape[:-1], num_rows), dtype=torch.float32)


def linear(x: Tensor, matrix: PackedMatrix, bias: Tensor | None = None) -> Tensor:
    """x (..., K) times the transposed matrix, plus a float32 bias (N): float32 (..., N).

    Each row of the result is the same whatever the number of rows and of threads.
    """
    if x.shape[-1] != matrix.num_columns:
        raise ValueError(f"x should have the matrix's {matrix.num_columns} columns, found {x.shape[-1]}")
    # Only torch.compile needs the operator, whose first call spends a second on importing a compiler.
    compute = _operator if torch.compiler.is_compiling() else _product
    product: Tensor = compute(x, matrix.num_rows, matrix.codes, matrix.scales, matrix.codebook, bias)
    return product
