"""Puts the model together from packed tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from qwen7b.config import ModelConfig
from qwen7b.kernels import num_threads
from qwen7b.model import Transformer
from qwen7b.model.empty_model import empty_model
from qwen7b.model.rebuilding import rebuild, weight_owner
from qwen7b.packed.formats import Format
from qwen7b.packed.layout import is_row_embedding, packed_matrix, pair_sizes_name, row_embedding
from qwen7b.packed.modules import PackedEmbedding, PackedLinear
from qwen7b.packed.packed_cache import PackedCacheFactory, can_pack
from qwen7b.packed.runner import NativeRunner


def packed_model(
    config: ModelConfig, tensors: Mapping[str, Tensor], *, format: Format, path: Path | None = None
) -> Transformer:
    """A model whose linear layers and embedding are packed. It shares the tensors' memory, and so does a tied head.

    `path` is the file that the tensors are mapped from, if they are.
    """

    def embedding(name: str, module: nn.Embedding) -> nn.Module:
        if is_row_embedding(name, config):
            return row_embedding(config, tensors)
        sizes = {"num_rows": module.num_embeddings, "num_columns": module.embedding_dim}
        return PackedEmbedding(packed_matrix(name, tensors, **sizes))

    def linear(name: str, module: nn.Linear) -> nn.Module:
        sizes = {"num_rows": module.out_features, "num_columns": module.in_features}
        return PackedLinear(
            packed_matrix(weight_owner(name, config), tensors, **sizes), bias=tensors.get(f"{name}.bias")
        )

    model = empty_model(config)
    rebuild(model, embedding=embedding, linear=linear, norm=tensors.__getitem__)
    model.weight_format, model.weights_file = format.name, path
    if can_pack(config):
        model.cache_factory = PackedCacheFactory([tensors[pair_sizes_name(n)] for n in range(config.num_layers)])
        model.runner = NativeRunner(config)
        model.own_threads = num_threads() is not None
    return model.eval()
