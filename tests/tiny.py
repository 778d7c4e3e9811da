"""Tiny random models, and tiny checkpoints in every layout that qwen7b reads, written without qwen7b's own code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from qwen7b.config import ModelConfig
from qwen7b.config.rotary_scaling import DynamicNtk
from qwen7b.loading import load_model
from qwen7b.model import Transformer

HIDDEN, HEADS, KV_HEADS, HEAD_SIZE, FEED_FORWARD, LAYERS = 64, 4, 2, 16, 96, 2
ROWS = 320
IDS = torch.arange(1, 40)[None]
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
WORDS = ["he", "ll", "hell", "th", "the", "Ġt", "in", "er", "ä½", "ä½ł"]
MERGES = ["h e", "l l", "he ll", "t h", "th e", "Ġ t", "i n", "e r", "ä ½", "ä½ ł"]

V11_CONFIG: dict[str, Any] = {
    "model_type": "qwen",
    "hidden_size": HIDDEN,
    "num_attention_heads": HEADS,
    "num_hidden_layers": LAYERS,
    "intermediate_size": 2 * FEED_FORWARD,
    "kv_channels": HEAD_SIZE,
    "layer_norm_epsilon": 1e-6,
    "max_position_embeddings": 512,
    "seq_length": 64,
    "rotary_emb_base": 10000,
    "tie_word_embeddings": False,
    "use_dynamic_ntk": True,
    "use_logn_attn": True,
    "vocab_size": ROWS,
    "no_bias": True,
}
V10_CONFIG: dict[str, Any] = {
    "model_type": "qwen",
    "n_embd": HIDDEN,
    "n_head": HEADS,
    "n_layer": LAYERS,
    "ffn_hidden_size": 2 * FEED_FORWARD,
    "kv_channels": HEAD_SIZE,
    "layer_norm_epsilon": 1e-6,
    "n_positions": 512,
    "seq_length": 64,
    "rotary_emb_base": 10000,
    "tie_word_embeddings": False,
    "use_dynamic_ntk": True,
    "use_logn_attn": True,
    "vocab_size": ROWS,
    "padded_vocab_size": ROWS,
    "no_bias": True,
}
QWEN2_CONFIG: dict[str, Any] = {
    "model_type": "qwen2",
    "hidden_size": HIDDEN,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "num_hidden_layers": LAYERS,
    "intermediate_size": FEED_FORWARD,
    "hidden_act": "silu",
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
    "use_sliding_window": False,
    "vocab_size": ROWS,
}
LLAMA_CONFIG: dict[str, Any] = {**QWEN2_CONFIG, "model_type": "llama", "tie_word_embeddings": False}


def config(**changes: Any) -> ModelConfig:
    """The settings of two small layers with dynamic NTK and LogN, for tests of what needs no checkpoint."""
    settings: dict[str, Any] = {
        "family": "qwen",
        "vocab_rows": 97,
        "hidden_size": 32,
        "num_layers": 2,
        "num_heads": 4,
        "num_kv_heads": 4,
        "head_size": 8,
        "feed_forward_size": 48,
        "norm_epsilon": 1e-6,
        "rope_base": 10000.0,
        "trained_length": 16,
        "context_length": 256,
        "qkv_bias": True,
        "tied_head": False,
        "rotary_scaling": DynamicNtk(),
        "logn": True,
    }
    return ModelConfig(**{**settings, **changes})


def model(**changes: Any) -> Transformer:
    """A model of `config(**changes)`, always with the same random weights."""
    torch.manual_seed(0)
    transformer = Transformer(config(**changes))
    for parameter in transformer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return transformer.eval()


@torch.inference_mode()
def logits_of(path: Path, **settings: Any) -> torch.Tensor:
    """The logits after each of IDS of the checkpoint at `path`, loaded with these settings."""
    return load_model(path, **settings)(IDS)


def random_tensor(*shape: int) -> torch.Tensor:
    return torch.randn(*shape) * 0.3


def qwen_tensors(*, layers: int = LAYERS) -> dict[str, torch.Tensor]:
    """A first-generation Qwen's state dict."""
    tensors = {
        "transformer.wte.weight": random_tensor(ROWS, HIDDEN),
        "transformer.ln_f.weight": 1 + random_tensor(HIDDEN),
        "lm_head.weight": random_tensor(ROWS, HIDDEN),
    }
    for layer in range(layers):
        prefix = f"transformer.h.{layer}."
        tensors |= {
            f"{prefix}ln_1.weight": 1 + random_tensor(HIDDEN),
            f"{prefix}attn.c_attn.weight": random_tensor(3 * HIDDEN, HIDDEN),
            f"{prefix}attn.c_attn.bias": random_tensor(3 * HIDDEN),
            f"{prefix}attn.c_proj.weight": random_tensor(HIDDEN, HIDDEN),
            f"{prefix}ln_2.weight": 1 + random_tensor(HIDDEN),
            f"{prefix}mlp.w1.weight": random_tensor(FEED_FORWARD, HIDDEN),
            f"{prefix}mlp.w2.weight": random_tensor(FEED_FORWARD, HIDDEN),
            f"{prefix}mlp.c_proj.weight": random_tensor(HIDDEN, FEED_FORWARD),
        }
    return tensors


def qwen2_tensors(*, bias: bool = True, head: bool = False) -> dict[str, torch.Tensor]:
    """A Qwen2's state dict; without bias and with a head, a Llama's."""
    tensors = {
        "model.embed_tokens.weight": random_tensor(ROWS, HIDDEN),
        "model.norm.weight": 1 + random_tensor(HIDDEN),
    }
    if head:
        tensors["lm_head.weight"] = random_tensor(ROWS, HIDDEN)
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        tensors |= {
            f"{prefix}input_layernorm.weight": 1 + random_tensor(HIDDEN),
            f"{prefix}self_attn.o_proj.weight": random_tensor(HIDDEN, HEADS * HEAD_SIZE),
            f"{prefix}post_attention_layernorm.weight": 1 + random_tensor(HIDDEN),
            f"{prefix}mlp.gate_proj.weight": random_tensor(FEED_FORWARD, HIDDEN),
            f"{prefix}mlp.up_proj.weight": random_tensor(FEED_FORWARD, HIDDEN),
            f"{prefix}mlp.down_proj.weight": random_tensor(HIDDEN, FEED_FORWARD),
        }
        for name, heads in (("q", HEADS), ("k", KV_HEADS), ("v", KV_HEADS)):
            tensors[f"{prefix}self_attn.{name}_proj.weight"] = random_tensor(heads * HEAD_SIZE, HIDDEN)
            if bias:
                tensors[f"{prefix}self_attn.{name}_proj.bias"] = random_tensor(heads * HEAD_SIZE)
    return tensors


def write_folder(
    folder: Path,
    config: dict[str, Any],
    tensors: dict[str, torch.Tensor],
    *,
    shards: int = 1,
    pickled: bool = False,
    tokenizer: bool = False,
    generation: dict[str, Any] | None = None,
) -> Path:
    """Write a checkpoint folder as the hubs hold them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    if generation is not None:
        (folder / "generation_config.json").write_text(json.dumps(generation))
    if tokenizer:
        write_tokenizer_json(folder / "tokenizer.json")
    stem, suffix = ("pytorch_model", "bin") if pickled else ("model", "safetensors")
    names = sorted(tensors)
    files: dict[str, str] = {}
    for shard in range(shards):
        name = f"{stem}.{suffix}" if shards == 1 else f"{stem}-{shard + 1:05}-of-{shards:05}.{suffix}"
        part = {key: tensors[key] for key in names[shard::shards]}
        if pickled:
            torch.save(part, folder / name)
        else:
            save_file(part, folder / name)
        files |= dict.fromkeys(part, name)
    if shards > 1:
        (folder / f"{stem}.{suffix}.index.json").write_text(json.dumps({"weight_map": files}))
    return folder


def byte_characters() -> list[str]:
    """GPT-2's spelling of the 256 bytes, in its order."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    spelling = {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}
    return [spelling[byte] for byte in (*printable, *others)]


def vocabulary() -> dict[str, int]:
    """Bytes, a few merged tokens, no control tokens."""
    return {token: index for index, token in enumerate([*byte_characters(), *WORDS])}


def write_tokenizer_json(path: Path) -> Path:
    """A Qwen2 tokenizer with a handful of merges and the three ChatML control tokens."""
    tokens = vocabulary()
    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    added = [
        {
            "id": len(tokens) + index,
            "content": name,
            "special": True,
            "normalized": False,
            "lstrip": False,
            "rstrip": False,
            "single_word": False,
        }
        for index, name in enumerate(CONTROL)
    ]
    document = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False},
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
            ],
        },
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": tokens,
            "merges": MERGES,
        },
    }
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def write_vocab_json(folder: Path, *, before: str = "") -> Path:
    """The same tokenizer in several files, whose names may begin with something."""
    folder.mkdir(parents=True, exist_ok=True)
    tokens = vocabulary()
    added = {name: len(tokens) + index for index, name in enumerate(CONTROL)}
    (folder / f"{before}vocab.json").write_text(json.dumps(tokens))
    (folder / f"{before}merges.txt").write_text("\n".join(MERGES), encoding="utf-8")
    (folder / f"{before}added_tokens.json").write_text(json.dumps(added))
    (folder / f"{before}tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "Qwen2Tokenizer"}))
    return folder / f"{before}vocab.json"
