"""A packed checkpoint: a folder with the packed weights, config.json, and the source's tokenizer and settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from qwen7b.checkpoint.own_config import config_fields, config_from
from qwen7b.checkpoint.packed_file import map_packed
from qwen7b.checkpoint.tensor_names import Place
from qwen7b.config import ModelConfig
from qwen7b.errors import CheckpointError, quoted
from qwen7b.files.stored import StoredTensor
from qwen7b.files.views import InMemory
from qwen7b.kernels import PackedMatrix
from qwen7b.model.parameter_shapes import parameter_shapes
from qwen7b.packed.formats import Format, find_format
from qwen7b.packed.layout import is_row_embedding, packed_matrix, row_embedding
from qwen7b.packed.modules import RowEmbedding
from qwen7b.packed.version import VERSION, VERSION_FIELD

WEIGHTS = "model.safetensors"


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """The packed weights of a checkpoint."""

    format: Format
    tensors: Mapping[str, Tensor]
    """The packed tensors, by their names in `packed_layout`."""


def packed_config(config: ModelConfig, format: Format) -> dict[str, Any]:
    """The content of a packed folder's config.json."""
    return {VERSION_FIELD: VERSION, "weight_format": format.name, "model": config_fields(config)}


def is_packed(fields: Mapping[str, Any]) -> bool:
    """Whether a config.json is that of a packed folder, of any version."""
    return VERSION_FIELD in fields


def open_packed(folder: Path, fields: Mapping[str, Any]) -> tuple[ModelConfig, Packed]:
    """Map a packed folder's weights; `fields` are its config.json's.

    Raises CheckpointError where it is of another version, truncated or damaged.
    """
    if fields.get(VERSION_FIELD) != VERSION:
        raise CheckpointError(
            f"{folder} is of version {quoted(fields.get(VERSION_FIELD))} of packed weights, while this qwen7b reads "
            f"{VERSION}: quantize the original checkpoint again"
        )
    try:
        format = find_format(str(fields["weight_format"]))
        config = config_from(fields["model"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{folder / 'config.json'} is damaged ({error}): quantize the original checkpoint again"
        ) from error
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise CheckpointError(f"{folder} has no {WEIGHTS}: quantize the original checkpoint again")
    return config, Packed(format=format, tensors=map_packed(weights, config=config, format=format))


def unpacked(config: ModelConfig, packed: Packed) -> dict[str, tuple[Place, StoredTensor]]:
    """The packed weights as float tensors, by our parameters' names: rows are unpacked when they are read."""
    tensors: dict[str, tuple[Place, StoredTensor]] = {}
    for name, shape in parameter_shapes(config).items():
        stored: StoredTensor
        if len(shape) == 1:
            stored = InMemory(packed.tensors[name])
        else:
            num_rows, num_columns = shape
            stem = name.removesuffix(".weight")
            if is_row_embedding(stem, config):
                tensors[name] = (Place(parameter=name), EmbeddingRows(row_embedding(config, packed.tensors)))
                continue
            stored = MatrixRows(packed_matrix(stem, packed.tensors, num_rows=num_rows, num_columns=num_columns))
        tensors[name] = (Place(parameter=name), stored)
    return tensors


@dataclass(frozen=True, slots=True)
class EmbeddingRows:
    """The rows of an embedding that is packed row by row."""

    embedding: RowEmbedding

    @property
    def shape(self) -> tuple[int, ...]:
        return self.embedding.num_embeddings, self.embedding.embedding_dim

    def read_rows(self, start: int, stop: int) -> Tensor:
        rows: Tensor = self.embedding(torch.arange(start, stop))
        return rows


@dataclass(frozen=True, slots=True)
class MatrixRows:
    """The rows of a packed matrix."""

    matrix: PackedMatrix

    @property
    def shape(self) -> tuple[int, ...]:
        return self.matrix.num_rows, self.matrix.num_columns

    def read_rows(self, start: int, stop: int) -> Tensor:
        return self.matrix.dequantize_rows(start, stop)
