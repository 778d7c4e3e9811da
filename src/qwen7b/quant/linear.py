"""Layers whose weight is a packed matrix."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qwen7b.kernels import GROUP, PackedMatrix, linear


class PackedLinear(nn.Module):
    """x times a packed matrix, plus a float32 bias; activations are rounded to int8 on the way, one scale a group."""

    codes: Tensor
    scales: Tensor
    codebook: Tensor | None
    bias: Tensor | None

    def __init__(self, matrix: PackedMatrix, *, bias: Tensor | None = None) -> None:
        super().__init__()
        self.out_features, self.in_features = matrix.num_rows, matrix.num_columns
        self.register_buffer("codes", matrix.codes)
        self.register_buffer("scales", matrix.scales)
        self.register_buffer("codebook", matrix.codebook)
        self.register_buffer("bias", bias)

    @property
    def matrix(self) -> PackedMatrix:
        return PackedMatrix(
            num_rows=self.out_features,
            num_columns=self.in_features,
            codes=self.codes,
            scales=self.scales,
            codebook=self.codebook,
        )

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.matrix, self.bias)


class RowEmbedding(nn.Module):
    """Rows of int8 codes with a scale a group, looked up as float32.

    Rows lie one after the other, unlike a packed matrix' sixteen: of a mapped file only rows that were looked up are
    ever in memory.

    codes   int8 (V, C up to whole groups)
    scales  float16 (V, C/GROUP)
    """

    codes: Tensor
    scales: Tensor

    def __init__(self, codes: Tensor, scales: Tensor, *, embedding_dim: int) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = len(codes), embedding_dim
        self.register_buffer("codes", codes)
        self.register_buffer("scales", scales)

    def forward(self, ids: Tensor) -> Tensor:
        groups = self.codes[ids].reshape(*ids.shape, -1, GROUP)
        return (groups * self.scales[ids].float()[..., None]).flatten(-2)[..., : self.embedding_dim]


class PackedEmbedding(nn.Module):
    """Rows of a packed matrix that is the head too, as float32."""

    codes: Tensor
    scales: Tensor
    codebook: Tensor | None

    def __init__(self, matrix: PackedMatrix) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = matrix.num_rows, matrix.num_columns
        self.register_buffer("codes", matrix.codes)
        self.register_buffer("scales", matrix.scales)
        self.register_buffer("codebook", matrix.codebook)

    @property
    def matrix(self) -> PackedMatrix:
        return PackedMatrix(
            num_rows=self.num_embeddings,
            num_columns=self.embedding_dim,
            codes=self.codes,
            scales=self.scales,
            codebook=self.codebook,
        )

    def forward(self, ids: torch.Tensor) -> Tensor:
        return self.matrix.rows(ids)
