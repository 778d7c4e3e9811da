"""The tensors that make up a packed model: their names, types and shapes, and how modules are made from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import torch
from torch import Tensor

from qwen7b.config import ModelConfig
from qwen7b.kernels import GROUP, PackedMatrix
from qwen7b.kernels.matrix import num_groups, packed_shapes
from qwen7b.model.parameter_shapes import parameter_shapes
from qwen7b.packed.formats import Format
from qwen7b.packed.modules import RowEmbedding

Layout = Mapping[str, tuple[torch.dtype, tuple[int, ...]]]
"""The type and shape of each tensor, by name."""
Write = Callable[[str, Tensor], None]
"""A function that takes the name of a packed model's tensor and the tensor."""


@lru_cache(maxsize=4)  # loading asks for it several times
def packed_layout(config: ModelConfig, format: Format) -> Layout:
    """The tensors of a packed model.

    For each matrix X.weight they are `X.codes`, `X.scales` and with 4 bits `X.codebook`; for each layer N there is
    `layers.N.attention.pair_sizes`.
    """
    layout: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {}
    for name, shape in parameter_shapes(config).items():
        if len(shape) == 1:
            layout[name] = (torch.float32, shape)
            continue
        stem = name.removesuffix(".weight")
        if is_row_embedding(stem, config):
            groups = num_groups(shape[1])
            layout[f"{stem}.codes"] = (torch.int8, (shape[0], groups * GROUP))
            layout[f"{stem}.scales"] = (torch.float16, (shape[0], groups))
            continue
        is_short = bool(format.codebooks_of(stem))
        codes, scales = packed_shapes(*shape, bits=4 if is_short else 8)
        layout[f"{stem}.codes"] = (torch.uint8, codes)
        layout[f"{stem}.scales"] = (torch.float16, scales)
        if is_short:
            layout[f"{stem}.codebook"] = (torch.int8, (16,))
    for layer in range(config.num_layers):
        layout[pair_sizes_name(layer)] = (torch.float32, (2, config.num_kv_heads, config.head_size // 2))
    return layout


def is_row_embedding(name: str, config: ModelConfig) -> bool:
    """Whether a matrix is a RowEmbedding: an embedding that is also the head must be a PackedMatrix."""
    return name == "embedding" and not config.tied_head


def row_embedding(config: ModelConfig, tensors: Mapping[str, Tensor]) -> RowEmbedding:
    return RowEmbedding(tensors["embedding.codes"], tensors["embedding.scales"], embedding_dim=config.hidden_size)


def pair_sizes_name(layer: int) -> str:
    return f"layers.{layer}.attention.pair_sizes"


def write_matrix(name: str, matrix: PackedMatrix, write: Write) -> None:
    """Hand over a matrix's tensors under their names in a packed model."""
    write(f"{name}.codes", matrix.codes)
    write(f"{name}.scales", matrix.scales)
    if matrix.codebook is not None:
        write(f"{name}.codebook", matrix.codebook)


def packed_matrix(name: str, tensors: Mapping[str, Tensor], *, num_rows: int, num_columns: int) -> PackedMatrix:
    return PackedMatrix(
        num_rows=num_rows,
        num_columns=num_columns,
        codes=tensors[f"{name}.codes"],
        scales=tensors[f"{name}.scales"],
        codebook=tensors.get(f"{name}.codebook"),
    )
