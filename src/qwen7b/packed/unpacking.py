"""Packed weights that gradients pass through: a block of rows at a time becomes floats, is multiplied by and forgotten.

The packed weights are constants: gradients are those of the inputs. Inputs are not rounded as the kernels round them,
so that outputs and gradients are those of a float model whose weights are the unpacked ones.
https://arxiv.org/abs/2305.14314
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from qwen7b.kernels import LANES, PackedMatrix
from qwen7b.model import Transformer
from qwen7b.packed.modules import PackedLinear

_BLOCK_WEIGHTS = 1 << 20
"""The weights that are floats at once."""


class UnpackingLinear(nn.Module):
    """x times a packed matrix, plus a bias, in the dtype of x or of autocast."""

    def __init__(self, packed: PackedLinear) -> None:
        super().__init__()
        self.packed = packed
        self.in_features, self.out_features = packed.in_features, packed.out_features

    @property
    def matrix(self) -> PackedMatrix:
        return self.packed.matrix

    def forward(self, x: Tensor) -> Tensor:
        device = x.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        y: Tensor = _Product.apply(x.to(dtype).flatten(0, -2), self.matrix)  # type: ignore[no-untyped-call]
        y = y.view(*x.shape[:-1], self.out_features)
        return y if self.packed.bias is None else y + self.packed.bias.to(dtype)


class _Product(torch.autograd.Function):
    """x (R, K) times a transposed packed matrix (N, K). Nothing of the matrix is kept but what it is packed in."""

    @staticmethod
    def forward(ctx: Any, x_RK: Tensor, matrix: PackedMatrix) -> Tensor:
        ctx.matrix = matrix
        y_RN = x_RK.new_empty(len(x_RK), matrix.num_rows)
        for start, rows in _unpacked_blocks(matrix, dtype=x_RK.dtype):
            torch.mm(x_RK, rows.t(), out=y_RN[:, start : start + len(rows)])
        return y_RN

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient_RN,) = gradients
        total_RK = gradient_RN.new_zeros(len(gradient_RN), ctx.matrix.num_columns, dtype=torch.float32)
        for start, rows in _unpacked_blocks(ctx.matrix, dtype=gradient_RN.dtype):
            part_RN = gradient_RN[:, start : start + len(rows)]
            if rows.dtype == torch.float32:
                total_RK.addmm_(part_RN, rows)
            else:
                total_RK += part_RN @ rows
        return total_RK.to(gradient_RN.dtype), None


def _unpacked_blocks(matrix: PackedMatrix, *, dtype: torch.dtype) -> Iterator[tuple[int, Tensor]]:
    """The first row of each block and its rows."""
    step = LANES * max(1, _BLOCK_WEIGHTS // (LANES * matrix.num_columns))
    for start in range(0, matrix.num_rows, step):
        yield start, matrix.dequantize_rows(start, min(start + step, matrix.num_rows)).to(dtype)


def let_gradients_through(model: Transformer) -> None:
    """Replace the linear layers of a packed model by those that gradients pass through; they share its memory.

    A model in which this was done stays as it is.
    """
    for parent in [*model.modules()]:
        if isinstance(parent, UnpackingLinear):  # whose own layer is what it unpacks
            continue
        for name, module in [*parent.named_children()]:
            if isinstance(module, PackedLinear):
                parent.set_submodule(name, UnpackingLinear(module))
