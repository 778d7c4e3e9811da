"""A model's config, tokenizer and generation settings as each format's files and fields."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from gguf import GGMLQuantizationType, LlamaFileType

from qwen7b.checkpoint import position_fields
from qwen7b.checkpoint.generation_settings import DEFAULT_MAX_NEW_TOKENS
from qwen7b.config import ModelConfig
from qwen7b.config.checked import PENALTIES
from qwen7b.convert.companions import Companions
from qwen7b.text import patterns
from qwen7b.text.chatml import ChatML
from qwen7b.text.export import added_tokens, gguf_tokenizer, merges_of, original_files, spelled_ids, tokenizer_json
from qwen7b.text.qwen_tiktoken import EXTRA_VOCABULARY, FIRST_CONTROL_ID, QWEN_VOCAB_SIZE


def qwen_files(config: ModelConfig, companions: Companions, *, dtype: torch.dtype) -> dict[str, bytes]:
    """The files beside the weights of a first-generation Qwen, with the keys in use since 2023-09."""
    dtype_name = _dtype_name(dtype)
    fields = {
        "architectures": ["QWenLMHeadModel"],
        "model_type": "qwen",
        "attn_dropout_prob": 0.0,
        "bf16": dtype == torch.bfloat16,
        "emb_dropout_prob": 0.0,
        "fp16": dtype == torch.float16,
        "fp32": dtype == torch.float32,
        "hidden_size": config.hidden_size,
        "initializer_range": 0.02,
        "intermediate_size": 2 * config.feed_forward_size,
        "kv_channels": config.head_size,
        "layer_norm_epsilon": config.norm_epsilon,
        "max_position_embeddings": config.context_length,
        "no_bias": True,
        "num_attention_heads": config.num_heads,
        "num_hidden_layers": config.num_layers,
        "rotary_emb_base": config.rope_base,
        "rotary_pct": 1.0,
        "scale_attn_weights": True,
        "seq_length": config.trained_length,
        "tie_word_embeddings": False,
        "tokenizer_class": "QWenTokenizer",
        "torch_dtype": dtype_name,
        "use_cache": True,
        "use_dynamic_ntk": config.dynamic_ntk,
        "use_logn_attn": config.logn,
        "vocab_size": config.vocab_rows,
    }
    fields |= position_fields.rope_fields(config.rotary_scaling)
    if config.attention_windows is not None:
        fields["attention_windows"] = list(config.attention_windows)
    originals = original_vocabulary(config, companions)
    if originals is None:
        fields["tokenizer_class"] = "PreTrainedTokenizerFast"
        files = _tokenizer_files(config, companions, tokenizer_class="PreTrainedTokenizerFast")
    else:
        tokenizer_config = {
            **_bos_fields(companions),
            "chat_template": companions.chat_template,
            "extra_vocab_file": EXTRA_VOCABULARY if EXTRA_VOCABULARY in originals else None,
            "model_max_length": config.context_length,
            "tokenizer_class": "QWenTokenizer",
        }
        files = {**originals, "tokenizer_config.json": as_json(_without_none(tokenizer_config))}
    generation = {
        "chat_format": "chatml" if companions.is_chat else "raw",
        # Without it Transformers stops after 20 tokens.
        "max_new_tokens": DEFAULT_MAX_NEW_TOKENS,
        **_generation_fields(companions),
    }
    if companions.generation.stop_sequences:
        generation["stop_words_ids"] = [list(ids) for ids in companions.generation.stop_sequences]
    if companions.generation.history_token_limit is not None:
        generation["max_window_size"] = companions.generation.history_token_limit
    return {"config.json": as_json(fields), "generation_config.json": as_json(generation), **files}


def original_vocabulary(config: ModelConfig, companions: Companions) -> dict[str, bytes] | None:
    """The original qwen.tiktoken, if that is the vocabulary and the model has rows for all of its control tokens.

    With it comes a file of the tokens after the control tokens, if there are any, in the same form.
    """
    if config.vocab_rows < QWEN_VOCAB_SIZE:
        return None
    # In qwen.tiktoken all control tokens but the first three are called <|extra_0|> and so on.
    names = [name for name, id in companions.tokenizer.control_tokens.items() if id >= FIRST_CONTROL_ID + 3]
    settings, format = companions.tokenizer.vocabulary.settings, companions.tokenizer.chat_format
    if settings.bos in names or any(name in settings.special_tokens.values() for name in names):
        return None
    template = "" if isinstance(format, ChatML) else companions.chat_template or ""
    if any(name in template for name in names):
        return None
    return original_files(companions.tokenizer.vocabulary)


def qwen2_files(config: ModelConfig, companions: Companions, *, dtype: torch.dtype) -> dict[str, bytes]:
    """The files beside the weights of a Qwen2."""
    fields = {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "attention_dropout": 0.0,
        "bos_token_id": _id_of(companions, "bos_token"),
        "eos_token_id": next(iter(companions.stop_ids), None),
        "hidden_act": "silu",
        "hidden_size": config.hidden_size,
        "initializer_range": 0.02,
        "intermediate_size": config.feed_forward_size,
        "max_position_embeddings": config.context_length,
        "num_attention_heads": config.num_heads,
        "num_hidden_layers": config.num_layers,
        "num_key_value_heads": config.num_kv_heads,
        "rms_norm_eps": config.norm_epsilon,
        "rope_theta": config.rope_base,
        "tie_word_embeddings": config.tied_head,
        "torch_dtype": _dtype_name(dtype),
        "use_cache": True,
        "vocab_size": config.vocab_rows,
        **position_fields.rope_fields(config.rotary_scaling),
        **position_fields.window_fields(config),
    }
    if config.head_size * config.num_heads != config.hidden_size:
        fields["head_dim"] = config.head_size
    vocabulary = companions.tokenizer.vocabulary
    is_qwen = vocabulary.pattern == patterns.QWEN and vocabulary.nfc
    return {
        "config.json": as_json(_without_none(fields)),
        "generation_config.json": as_json(_generation_fields(companions)),
        **_tokenizer_files(
            config, companions, tokenizer_class="Qwen2Tokenizer" if is_qwen else "PreTrainedTokenizerFast"
        ),
    }


def gguf_metadata(config: ModelConfig, companions: Companions, *, type: GGMLQuantizationType) -> dict[str, Any]:
    """The metadata of a GGUF file with architecture "qwen2" or "llama", most of whose weights have this `type`."""
    tokenizer = companions.tokenizer
    file_type = LlamaFileType.ALL_F32 if type == GGMLQuantizationType.F32 else LlamaFileType[f"MOSTLY_{type.name}"]
    fields: dict[str, Any] = {
        "general.type": "model",
        "general.name": companions.name,
        "general.file_type": int(file_type),
        "general.quantization_version": 2,
    }
    sizes = {
        "block_count": config.num_layers,
        "context_length": config.context_length,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.feed_forward_size,
        "attention.head_count": config.num_heads,
        "attention.head_count_kv": config.num_kv_heads,
        "attention.key_length": config.head_size,
        "attention.value_length": config.head_size,
        "attention.layer_norm_rms_epsilon": config.norm_epsilon,
        "rope.dimension_count": config.head_size,
        "rope.freq_base": config.rope_base,
        "vocab_size": config.vocab_rows,
        **position_fields.gguf_rope_fields(config.rotary_scaling),
    }
    fields |= {f"{config.family}.{key}": value for key, value in sizes.items()}
    fields |= gguf_tokenizer(
        tokenizer.vocabulary,
        vocab_rows=config.vocab_rows,
        merges=list(merges_of(tokenizer.vocabulary)),
    )
    end = next(iter(companions.stop_ids), None)
    eos = _id_of(companions, "eos_token")
    fields |= {
        "tokenizer.ggml.bos_token_id": _id_of(companions, "bos_token"),
        "tokenizer.ggml.eos_token_id": eos,
        "tokenizer.ggml.eot_token_id": end if end != eos else None,
        "tokenizer.ggml.unknown_token_id": _id_of(companions, "unk_token"),
        "tokenizer.ggml.padding_token_id": _id_of(companions, "pad_token"),
        "tokenizer.ggml.add_bos_token": tokenizer.bos_id is not None,
        "tokenizer.chat_template": companions.chat_template,
    }
    return _without_none(fields)


def _tokenizer_files(config: ModelConfig, companions: Companions, *, tokenizer_class: str) -> dict[str, bytes]:
    """The files that tokenizers and Transformers read; vocab.json and merges.txt only if the class needs them."""
    vocabulary = companions.tokenizer.vocabulary
    merges = list(merges_of(vocabulary))
    added = added_tokens(vocabulary)
    fields = {
        "add_bos_token": companions.tokenizer.bos_id is not None,
        "add_prefix_space": False,
        "added_tokens_decoder": {str(token.pop("id")): token for token in map(dict, added)},
        "chat_template": companions.chat_template,
        "clean_up_tokenization_spaces": False,
        "errors": "replace",
        "model_max_length": config.context_length,
        "split_special_tokens": False,
        "tokenizer_class": tokenizer_class,
        **companions.special_tokens,
    }
    files = {
        "tokenizer_config.json": as_json(_without_none(fields)),
        "tokenizer.json": as_json(tokenizer_json(vocabulary, merges=merges)),
    }
    if tokenizer_class == "Qwen2Tokenizer":
        files["vocab.json"] = as_json(spelled_ids(vocabulary))
        files["merges.txt"] = "".join(f"{left} {right}\n" for left, right in merges).encode()
    return files


def _bos_fields(companions: Companions) -> dict[str, Any]:
    """BOS and the template's variables as tokenizer_config.json fields, as qwen.tiktoken has no place for them."""
    own = companions.tokenizer.vocabulary.settings
    return {**own.special_tokens, **({"add_bos_token": True, "bos_token": own.bos} if own.bos else {})}


def _id_of(companions: Companions, variable: str) -> int | None:
    """The id of a special token; if the source names no BOS, it is <|endoftext|>, as always in Qwen."""
    vocabulary = companions.tokenizer.vocabulary
    name = vocabulary.settings.bos if variable == "bos_token" else None
    name = name or companions.special_tokens.get(variable)
    if name is None:
        return companions.tokenizer.end_of_text_id if variable == "bos_token" else None
    return vocabulary.id_of(name)


def _generation_fields(companions: Companions) -> dict[str, Any]:
    settings, stop_ids = companions.generation, companions.stop_ids
    pad = companions.tokenizer.end_of_text_id
    sampling = dict(settings.sampling)
    do_sample = bool(sampling.keys() - PENALTIES)
    fields = {
        "bos_token_id": _id_of(companions, "bos_token"),
        "do_sample": do_sample,
        "eos_token_id": stop_ids[0] if len(stop_ids) == 1 else stop_ids or None,
        "max_new_tokens": settings.max_new_tokens,
        "stop_strings": [*settings.stop_strings] or None,
        "pad_token_id": pad,
        **sampling,
    }
    return _without_none(fields)


def _without_none(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields without those that are None, which formats express by leaving them out."""
    return {name: value for name, value in fields.items() if value is not None}


def _dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def as_json(value: object) -> bytes:
    """The content of a JSON file."""
    # A name that is not UTF-8 has lone surrogates, which JSON writes as \udcff.
    return json.dumps(value, ensure_ascii=False, indent=2).encode(errors="backslashreplace") + b"\n"
