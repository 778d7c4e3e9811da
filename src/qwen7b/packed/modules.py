"""The modules whose weights are packed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from qwen7b.errors import SettingError
from qwen7b.kernels import GROUP, PackedMatrix, linear


class _PackedModule(nn.Module):
    """A module whose tensors keep their types, as their numbers mean nothing in another type."""

    codes: Tensor
    scales: Tensor

    def _apply(self, change: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        if (actual := change(torch.empty(0)).dtype) != torch.float32:
            raise SettingError(f"packed weights compute in float32, found {actual}: leave out dtype")
        return super()._apply(lambda tensor: change(tensor).to(tensor.dtype), recurse)  # type: ignore[no-untyped-call]


class _PackedMatrixModule(_PackedModule):
    """A module that holds a packed matrix (num_rows, num_columns)."""

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


class PackedLinear(_PackedMatrixModule):
    """x times a packed matrix, plus a float32 bias; the activations are rounded to int8, with one scale per group."""

    bias: Tensor | None

    def __init__(self, matrix: PackedMatrix, *, bias: Tensor | None = None) -> None:
        super().__init__(matrix)
        self.out_features, self.in_features = matrix.num_rows, matrix.num_columns
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.matrix, self.bias)


class PackedEmbedding(_PackedMatrixModule):
    """An embedding that is also the head: looks up rows of a packed matrix, as float32."""

    def __init__(self, matrix: PackedMatrix) -> None:
        super().__init__(matrix)
        self.num_embeddings, self.embedding_dim = matrix.num_rows, matrix.num_columns

    def forward(self, ids: Tensor) -> Tensor:
        return self.matrix.rows(ids)


class RowEmbedding(_PackedModule):
    """An embedding of int8 codes with a scale per group, looked up as float32.

    Rows are stored one after the other, while a packed matrix interleaves sixteen: so only the rows of a mapped file
    that were looked up are ever in memory.

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
