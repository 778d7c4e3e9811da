"""What a conversion changes without changing the model, and what it loses: a sentence each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qwen7b.config import ModelConfig
from qwen7b.text.qwen_tiktoken import _CONTROL_NAMES, FIRST_CONTROL_ID
from qwen7b.weights.conversion.companions import Companions
from qwen7b.weights.conversion.encoding import QUANTIZED
from qwen7b.weights.conversion.parameters import Format


def changes(source: ModelConfig, target: ModelConfig) -> list[str]:
    said = []
    if target.num_kv_heads > source.num_kv_heads:
        times = target.num_kv_heads // source.num_kv_heads
        said.append(f"Each of the {source.num_kv_heads} key-value heads is there {times} times.")
    elif target.num_kv_heads < source.num_kv_heads:
        said.append(
            f"The {source.num_kv_heads} key-value heads were {target.num_kv_heads} in equal copies and are merged."
        )
    if target.qkv_bias and not source.qkv_bias:
        said.append("Query, key and value have biases of zero.")
    if source.tied_head and not target.tied_head:
        said.append("The head is a copy of the embedding.")
    elif target.tied_head and not source.tied_head:
        said.append("The head equals the embedding and is tied to it.")
    return said


def losses(
    source: ModelConfig, target: ModelConfig, companions: Companions, *, to: Format, is_original_vocabulary: bool
) -> list[str]:
    """What the target's format cannot say; the numbers' own losses are `rounding`."""
    said = []
    scaling = [name for name, on in (("dynamic NTK", source.dynamic_ntk), ("LogN", source.logn)) if on]
    if scaling and to != "qwen":
        said.append(
            f"{' and '.join(scaling)} cannot be said in this format, so the context ends at the trained length: "
            f"{target.context_length} tokens instead of {source.context_length}."
        )
    if to == "qwen" and is_original_vocabulary:
        names = companions.tokenizer.control_tokens
        renamed = [name for name, id in names.items() if _CONTROL_NAMES[id - FIRST_CONTROL_ID] != name]
        if renamed:
            said.append(f"Control tokens keep their ids but are called <|extra_0|> and so on: {', '.join(renamed)}.")
    generation = companions.generation
    if to != "qwen" and generation.history_token_limit is not None:
        said.append(f"The history limit of {generation.history_token_limit} tokens (max_window_size).")
    if to == "gguf":
        settings = dict(generation.sampling)
        if generation.max_new_tokens is not None:
            settings["max_new_tokens"] = generation.max_new_tokens
        if settings:
            listed = ", ".join(f"{name} {value}" for name, value in settings.items())
            said.append(f"Generation settings: {listed}.")
        if companions.tokenizer.vocabulary.nfc:
            said.append("NFC normalization: normalize text yourself before llama.cpp encodes it.")
    return said


def rounding(tensors: Mapping[str, Any]) -> list[str]:
    """What the numbers lost, from the report of their comparison."""
    said = []
    for type, entry in tensors["types"].items():
        if largest := entry["largest_difference_from_source"]:
            how = "quantized to" if type.lower() in QUANTIZED else "rounded to"
            said.append(f"{entry['tensors']} tensors are {how} {type}; the largest difference is {largest:.3g}.")
    return said
