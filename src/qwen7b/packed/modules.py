"""Modules whose weight is packed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from qwen7b.errors import SettingError
from qwen7b.kernels import GROUP, PackedMatrix, linear


class _Packed(nn.Module):
    """Tensors that keep their types: their numbers mean nothing in any other."""

    codes: Tensor
    scales: Tensor

    def _apply(self, change: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        if (found := change(torch.empty(0)).dtype) != torch.float32:
            raise SettingError(f"packed weights compute in float32, found {found}: leave out dtype")
        return super()._apply(lambda tensor: change(tensor).to(tensor.dtype), recurse)  # type: ignore[no-untyped-call]


class _PackedRows(_Packed):
    """A packed matrix (num_rows, num_columns)."""

    codebook: Tensor | None

    def __init__(self, matrix: PackedMatrix) -> None:
        super().__init__()
        self._shape = matrix.num_rows, matrix.num_columns
        self.register_buffer("codes", matrix.codes)
        self.register_buffer("scales", matrix.scales)
        self.register_buffer("codebook", matrix.codebook)

    @property
    def matrix(self) -> PackedMatrix:
        num_rows, num_columns = self._shape
        return PackedMatrix(
            num_rows=num_rows,
            num_columns=num_columns,
            codes=self.codes,
            scales=self.scales,
            codebook=self.codebook,
        )


class PackedLinear(_PackedRows):
    """x times a packed matrix, plus a float32 bias; activations are rounded to int8 on the way, one scale a group."""

    bias: Tensor | None

    def __init__(self, matrix: PackedMatrix, *, bias: Tensor | None = None) -> None:
        super().__init__(matrix)
        self.out_features, self.in_features = matrix.num_rows, matrix.num_columns
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.matrix, self.bias)


class PackedEmbedding(_PackedRows):
    """Rows of a packed matrix that is the head too, as float32."""

    def __init__(self, matrix: PackedMatrix) -> None:
        super().__init__(matrix)
        self.num_embeddings, self.embedding_dim = matrix.num_rows, matrix.num_columns

    def forward(self, ids: Tensor) -> Tensor:
        return self.matrix.rows(ids)


class RowEmbedding(_Packed):
    """Rows of int8 codes with a scale a group, looked up as float32.

    Rows lie one after the other, unlike a packed matrix' sixteen: of a mapped file only rows that were looked up are
    ever in memory.

    codes   int8 (V, C up to whole groups)
    scales  float16 (V, C/GROUP)
    """

    def __init__(self, codes: Tensor, scales: Tensor, *, embedding_dim: int) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = len(codes), embedding_dim
        self.register_buffer("codes", codes)
        self.register_buffer("scales", scales)

    def forward(self, ids: Tensor) -> Tensor:
        groups = self.codes[ids].reshape(*ids.shape, -1, GROUP)
        return (groups * self.scales[ids].float()[..., None]).flatten(-2)[..., : self.embedding_dim]
