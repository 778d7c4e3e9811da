"""Random packed matrices and models, made without the quantizer."""

from __future__ import annotations

from typing import Any

import torch

import tiny
from qwen7b.kernels import GROUP, PackedMatrix
from qwen7b.model import Transformer
from qwen7b.packed.modules import PackedEmbedding, PackedLinear
from qwen7b.packed.packed_cache import PackedCacheFactory, can_pack
from qwen7b.packed.runner import NativeRunner


def random_matrix(num_rows: int, num_columns: int, *, bits: int) -> PackedMatrix:
    codebook = None if bits == 8 else torch.randint(-127, 128, (16,), dtype=torch.int8)
    codes = (
        torch.randint(-127, 128, (num_rows, num_columns), dtype=torch.int8)
        if bits == 8
        else torch.randint(0, 16, (num_rows, num_columns), dtype=torch.uint8)
    )
    scales = (torch.rand(num_rows, -(-num_columns // GROUP)) + 0.5) / 127 / num_columns**0.5
    return PackedMatrix.pack(codes, scales.half(), codebook=codebook)


def random_model(*, bits: int = 4, **changes: Any) -> Transformer:
    """Two packed layers with grouped heads, dynamic NTK and LogN."""
    settings: dict[str, Any] = {
        "vocab_rows": 320,
        "hidden_size": 128,
        "num_kv_heads": 2,
        "head_size": 32,
        "feed_forward_size": 192,
        "trained_length": 24,
        "context_length": 400,
    }
    config = tiny.config(**{**settings, **changes})
    model = Transformer(config)
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, torch.nn.Linear):
                bias = None if child.bias is None else torch.randn(child.out_features) * 0.1
                width = 8 if module is model else bits
                setattr(
                    module,
                    name,
                    PackedLinear(random_matrix(child.out_features, child.in_features, bits=width), bias=bias),
                )
            elif isinstance(child, torch.nn.Embedding):
                setattr(module, name, PackedEmbedding(random_matrix(child.num_embeddings, child.embedding_dim, bits=8)))
    if can_pack(config):
        sizes = torch.ones(2, config.num_kv_heads, config.head_size // 2)
        model.cache_factory = PackedCacheFactory([sizes] * config.num_layers)
        model.runner = NativeRunner(config)
    for parameter in model.parameters():
        torch.nn.init.ones_(parameter)
    return model.eval()
