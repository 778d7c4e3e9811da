"""Repairs a config.json to fit the tensors: sizes come from their shapes, other fields are renamed as needed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from qwen7b.checkpoint.tensor_names import QWEN, QWEN2, Names, naming_of
from qwen7b.config import Family
from qwen7b.files.stored import StoredTensor

# The same field in the first release, since 2023-09, and in Qwen2.
_SYNONYMS = (
    ("n_embd", "hidden_size", "hidden_size"),
    ("n_head", "num_attention_heads", "num_attention_heads"),
    ("n_layer", "num_hidden_layers", "num_hidden_layers"),
    ("ffn_hidden_size", "intermediate_size", "intermediate_size"),
    ("padded_vocab_size", "vocab_size", "vocab_size"),
    ("n_positions", "max_position_embeddings", "max_position_embeddings"),
    ("kv_channels", "kv_channels", "head_dim"),
    ("layer_norm_epsilon", "layer_norm_epsilon", "rms_norm_eps"),
    ("rotary_emb_base", "rotary_emb_base", "rope_theta"),
)
_SINCE_2023_09, _QWEN2 = 1, 2
_HEAD_SIZE = 128  # the same in all published first-generation models


def rewritten_config(fields: Mapping[str, Any], tensors: Mapping[str, StoredTensor]) -> dict[str, Any] | None:
    """The config that fits these tensors; None if they are of an unknown format or do not determine the sizes."""
    naming = naming_of(tensors)
    if naming not in (QWEN, QWEN2):
        return None
    column = _SINCE_2023_09 if naming is QWEN else _QWEN2
    known = {names[column]: fields[name] for names in _SYNONYMS for name in names if fields.get(name) is not None}
    others = {key: value for key, value in fields.items() if not any(key in names for names in _SYNONYMS)}
    try:
        sizes = _sizes(known, tensors, naming, known_family=fields.get("model_type"))
    except (KeyError, IndexError, TypeError, ValueError, ZeroDivisionError):  # damaged beyond guessing
        return None
    return {**others, **known, **sizes}


def _sizes(
    known: Mapping[str, Any], tensors: Mapping[str, StoredTensor], naming: Names, *, known_family: object
) -> dict[str, Any]:
    shapes, num_layers = _shapes(tensors, naming)
    rows, hidden_size = shapes["embedding.weight"]
    sizes: dict[str, Any] = {
        "vocab_size": rows,
        "hidden_size": hidden_size,
        "num_hidden_layers": num_layers,
        "tie_word_embeddings": "head.weight" not in shapes,
    }
    feed_forward_size = shapes["feed_forward.gate.weight"][0]
    query = shapes["query.weight"][0] if naming is QWEN2 else shapes["attention.qkv.weight"][0] // 3
    num_heads = _num_heads(known, query=query, hidden_size=hidden_size)
    sizes |= {"num_attention_heads": num_heads}
    if naming is QWEN:
        return {
            **sizes,
            "model_type": Family.QWEN.value,
            "architectures": ["QWenLMHeadModel"],
            "intermediate_size": 2 * feed_forward_size,
            "kv_channels": query // num_heads,
        }
    # A Qwen2 that has lost its biases must not be taken for a Llama.
    family = Family.LLAMA if known_family == Family.LLAMA and "query.bias" not in shapes else Family.QWEN2
    return {
        **sizes,
        "model_type": family.value,
        "architectures": ["Qwen2ForCausalLM" if family is Family.QWEN2 else "LlamaForCausalLM"],
        "intermediate_size": feed_forward_size,
        "num_key_value_heads": shapes["key.weight"][0] // (query // num_heads),
    }


def _num_heads(known: Mapping[str, Any], *, query: int, hidden_size: int) -> int:
    """The number of heads, which no tensor's shape shows. Raises ValueError where the config cannot be trusted in it.

    The size of a head is the same in models of many sizes, and so more likely right in a config of another model.
    """
    head_size: int | None = known.get("kv_channels", known.get("head_dim"))
    if head_size is None and known.get("hidden_size") in (None, hidden_size) and known.get("num_attention_heads"):
        head_size = query // known["num_attention_heads"]
    num_heads, rest = divmod(query, head_size or _HEAD_SIZE)
    if rest or not num_heads:
        raise ValueError("the heads do not divide the query")
    return num_heads


def _shapes(tensors: Mapping[str, StoredTensor], naming: Names) -> tuple[dict[str, tuple[int, ...]], int]:
    """Shapes by our names of parameters, the same for all layers; and the number of layers."""
    parts = {**naming.parts, **dict(zip(naming.qkv or (), ("query", "key", "value"), strict=False))}
    shapes, indices = {}, set()
    for name, stored in tensors.items():
        stem, _, kind = name.rpartition(".")
        if match := re.fullmatch(naming.layer, name):
            indices.add(match[1])
            if match[2] in parts:
                shapes[f"{parts[match[2]]}.{kind}"] = stored.shape
        elif stem in naming.outer:
            shapes[f"{naming.outer[stem]}.{kind}"] = stored.shape
    return shapes, len(indices)
