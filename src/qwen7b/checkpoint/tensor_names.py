"""Which tensor of a checkpoint fills which rows of which parameter; no other file knows the formats' tensor names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from qwen7b.config import Family, ModelConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a stored tensor goes in the model. Query, key and value fill consecutive rows of one `qkv`."""

    parameter: str
    first_row: int = 0
    num_rows: int | None = None
    """The number of rows; None for all rows of the parameter."""
    interleaved_heads: int = 0
    """The heads whose rows interleave rotary pairs (GGUF's Llama) instead of storing half after half; 0 for none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Names:
    """One format's names of our parameters."""

    models: str
    """The models that use these names, for messages."""
    layer: str
    """A pattern of the tensors in a layer: the index, the part, and weight or bias."""
    outer: Mapping[str, str]
    parts: Mapping[str, str]
    qkv: tuple[str, str, str] | None = None
    """The parts for query, key and value, where they are separate tensors."""


QWEN = Names(  # transformer.h.0.attn.c_attn.weight
    models="first-generation Qwen",
    layer=r"transformer\.h\.(\d+)\.(.+)\.(weight|bias)",
    outer={"transformer.wte": "embedding", "transformer.ln_f": "norm", "lm_head": "head"},
    parts={
        "ln_1": "attention_norm",
        "attn.c_attn": "attention.qkv",
        "attn.c_proj": "attention.output",
        "ln_2": "feed_forward_norm",
        "mlp.w1": "feed_forward.up",
        "mlp.w2": "feed_forward.gate",
        "mlp.c_proj": "feed_forward.down",
    },
)
QWEN2 = Names(  # model.layers.0.self_attn.q_proj.weight
    models="Qwen2 and Llama",
    layer=r"model\.layers\.(\d+)\.(.+)\.(weight|bias)",
    outer={"model.embed_tokens": "embedding", "model.norm": "norm", "lm_head": "head"},
    parts={
        "input_layernorm": "attention_norm",
        "self_attn.o_proj": "attention.output",
        "post_attention_layernorm": "feed_forward_norm",
        "mlp.up_proj": "feed_forward.up",
        "mlp.gate_proj": "feed_forward.gate",
        "mlp.down_proj": "feed_forward.down",
    },
    qkv=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
)
GGUF = Names(  # blk.0.attn_q.weight
    models="GGUF",
    layer=r"blk\.(\d+)\.(.+)\.(weight|bias)",
    outer={"token_embd": "embedding", "output_norm": "norm", "output": "head"},
    parts={
        "attn_norm": "attention_norm",
        "attn_qkv": "attention.qkv",
        "attn_output": "attention.output",
        "ffn_norm": "feed_forward_norm",
        "ffn_up": "feed_forward.up",
        "ffn_gate": "feed_forward.gate",
        "ffn_down": "feed_forward.down",
    },
    qkv=("attn_q", "attn_k", "attn_v"),
)

HOLDS_NO_WEIGHTS = re.compile(r"rotary_emb\.inv_freq$|attn\.(masked_bias|bias)$|logn_tensor$|attn_rot_embd")
"""Buffers that old versions saved with the weights."""


def folder_names(config: ModelConfig) -> Names:
    """The names in a checkpoint folder of such a model."""
    return QWEN if config.family is Family.QWEN else QWEN2


def naming_of(tensors: Iterable[str]) -> Names | None:
    """The format of these names; None where they match none, or several."""
    matching = {
        id(names): names for name in tensors for names in (QWEN, QWEN2, GGUF) if re.fullmatch(names.layer, name)
    }
    return next(iter(matching.values())) if len(matching) == 1 else None


def place_of(name: str, *, names: Names, config: ModelConfig) -> Place | None:
    """Where the tensor `name` goes, or None where the format has no such name."""
    stem, _, kind = name.rpartition(".")
    if stem in names.outer:
        return Place(parameter=f"{names.outer[stem]}.{kind}")
    if not (match := re.fullmatch(names.layer, name)):
        return None
    index, part, kind = match.groups()
    if part in names.parts:
        return Place(parameter=f"layers.{index}.{names.parts[part]}.{kind}")
    if not names.qkv or part not in names.qkv:
        return None
    role = names.qkv.index(part)
    heads = (config.num_heads, config.num_kv_heads, config.num_kv_heads)
    interleaved = names is GGUF and config.family is Family.LLAMA and role < 2
    return Place(
        parameter=f"layers.{index}.attention.qkv.{kind}",
        first_row=sum(heads[:role]) * config.head_size,
        num_rows=heads[role] * config.head_size,
        interleaved_heads=heads[role] if interleaved else 0,
    )


def is_extra_bias(place: Place, *, config: ModelConfig) -> bool:
    """Whether this is a bias that the model does not have: only query, key and value may have one."""
    return place.parameter.endswith(".bias") and not (config.qkv_bias and ".attention.qkv." in place.parameter)


def tensors_of(config: ModelConfig, *, names: Names) -> dict[str, Place]:
    """Every tensor that a format has for such a model, with its place."""
    prefix = names.layer.partition("(")[0].replace("\\", "")
    tensors = [
        f"{stem}.weight" for stem, parameter in names.outer.items() if parameter != "head" or not config.tied_head
    ]
    common_parts = [part for part, parameter in names.parts.items() if not (names.qkv and parameter == "attention.qkv")]
    for layer in range(config.num_layers):
        tensors += [f"{prefix}{layer}.{part}.weight" for part in (*common_parts, *(names.qkv or ()))]
        if config.qkv_bias:
            biased_parts = names.qkv or [
                part for part, parameter in names.parts.items() if parameter == "attention.qkv"
            ]
            tensors += [f"{prefix}{layer}.{part}.bias" for part in biased_parts]
    places = {name: place_of(name, names=names, config=config) for name in tensors}
    return {name: place for name, place in places.items() if place is not None}
