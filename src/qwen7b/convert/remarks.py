"""The sentences about a conversion: what is expressed differently, and what is lost."""

from __future__ import annotations

from collections.abc import Mapping

from qwen7b.checkpoint.position_fields import rope_fields, shortest_window
from qwen7b.config import ModelConfig
from qwen7b.config.rotary_scaling import Yarn
from qwen7b.convert.companions import Companions
from qwen7b.convert.conversion import TypeComparison
from qwen7b.convert.encoding import QUANTIZED
from qwen7b.convert.target_format import TargetFormat
from qwen7b.errors import counted
from qwen7b.text.endings import usual_endings
from qwen7b.text.qwen_tiktoken import CONTROL_NAMES, FIRST_CONTROL_ID


def changes(source: ModelConfig, target: ModelConfig) -> list[str]:
    """What the target expresses differently, although it is the same model."""
    remarks = []
    if target.num_kv_heads > source.num_kv_heads:
        times = target.num_kv_heads // source.num_kv_heads
        remarks.append(f"Each of the {source.num_kv_heads} key-value heads is there {counted(times, 'time')}.")
    elif target.num_kv_heads < source.num_kv_heads:
        remarks.append(
            f"The {source.num_kv_heads} key-value heads were {target.num_kv_heads} in equal copies and are merged."
        )
    if target.qkv_bias and not source.qkv_bias:
        remarks.append("Query, key and value have biases of zero.")
    if source.tied_head and not target.tied_head:
        remarks.append("The head is a copy of the embedding.")
    elif target.tied_head and not source.tied_head:
        remarks.append("The head equals the embedding and is tied to it.")
    return remarks


def losses(
    source: ModelConfig, target: ModelConfig, companions: Companions, *, to: TargetFormat, is_original_vocabulary: bool
) -> list[str]:
    """What the target's format cannot express; `rounding` tells what the numbers lose."""
    remarks = []
    remarks += _long_context(source, target, to=to)
    if to is TargetFormat.QWEN and is_original_vocabulary:
        names = companions.tokenizer.control_tokens
        renamed = [name for name, id in names.items() if CONTROL_NAMES[id - FIRST_CONTROL_ID] != name]
        if renamed:
            remarks.append(f"Control tokens keep their ids but are called <|extra_0|> and so on: {', '.join(renamed)}.")
    generation = companions.generation
    if to is not TargetFormat.QWEN and generation.history_token_limit is not None:
        remarks.append(f"The history limit of {counted(generation.history_token_limit, 'token')} (max_window_size).")
    bos = companions.tokenizer.vocabulary.settings.bos
    if to is TargetFormat.QWEN and is_original_vocabulary and bos is not None:
        remarks.append(f"Only qwen7b puts {bos} before every text in this format: other programs leave it out.")
    if to is TargetFormat.QWEN2 and generation.stop_sequences:
        remarks.append(f"{counted(len(generation.stop_sequences), 'ending')} of several tokens (stop_words_ids).")
    if to is TargetFormat.GGUF:
        if missing := _endings_without_field(companions):
            remarks.append(f"Endings that GGUF has no field for: {', '.join(map(str, missing))}.")
        settings = dict(generation.sampling)
        if generation.max_new_tokens is not None:
            settings["max_new_tokens"] = generation.max_new_tokens
        if settings:
            listed = ", ".join(f"{name} {value}" for name, value in settings.items())
            remarks.append(f"Generation settings: {listed}.")
        if companions.tokenizer.vocabulary.nfc:
            remarks.append("NFC normalization: normalize text yourself before llama.cpp encodes it.")
    return remarks


def _endings_without_field(companions: Companions) -> list[object]:
    """The endings of a reply that are neither in GGUF's two fields for them nor recognized by their names."""
    generation, tokenizer = companions.generation, companions.tokenizer
    known = {*companions.stop_ids[:1], *usual_endings(tokenizer.vocabulary)}
    if (eos := companions.special_tokens.get("eos_token")) is not None:
        known.add(tokenizer.vocabulary.id_of(eos) or 0)
    ids = [id for id in companions.stop_ids if id not in known]
    return [*ids, *map(list, generation.stop_sequences), *map(repr, generation.stop_strings)]


def _long_context(source: ModelConfig, target: ModelConfig, *, to: TargetFormat) -> list[str]:
    if to is TargetFormat.QWEN:
        own = list(rope_fields(target.rotary_scaling)) + ["attention_windows"] * (target.attention_windows is not None)
        return [f"Only qwen7b reads {name} in this format: other programs ignore it." for name in own]
    remarks = []
    scaling = [name for name, on in (("dynamic NTK", source.dynamic_ntk), ("LogN", source.logn)) if on]
    if scaling and isinstance(target.rotary_scaling, Yarn):
        remarks.append(
            f"{' and '.join(scaling)} cannot be expressed in this format, so beyond the trained length of "
            f"{target.trained_length} tokens the model behaves differently."
        )
    elif scaling:
        remarks.append(
            f"{' and '.join(scaling)} cannot be expressed in this format, so the context ends at the trained length: "
            f"{target.context_length} tokens instead of {source.context_length}."
        )
    yarn = target.rotary_scaling
    if to is TargetFormat.GGUF and isinstance(yarn, Yarn) and (yarn.beta_fast, yarn.beta_slow) != (32, 1):
        remarks.append("llama.cpp does not read YaRN's beta_fast and beta_slow for such models: it takes 32 and 1.")
    if target.attention_windows is None and (shortest := shortest_window(source.attention_windows)) is not None:
        remarks.append(
            "These attention windows cannot be expressed in this format, so beyond the shortest of them, "
            f"{shortest} tokens, the model behaves differently."
        )
    return remarks


def rounding(types: Mapping[str, TypeComparison]) -> list[str]:
    """What the numbers lost by rounding, from their comparison by number type."""
    remarks = []
    for type, entry in types.items():
        if largest := entry.largest_difference:
            how = "quantized to" if type.lower() in QUANTIZED else "rounded to"
            be = "is" if entry.tensors == 1 else "are"
            remarks.append(
                f"{counted(entry.tensors, 'tensor')} {be} {how} {type}; the largest difference is {largest:.3g}."
            )
    return remarks
