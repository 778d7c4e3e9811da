"""Folders as the makers released Qwen-7B and Qwen-7B-Chat, but tiny and random, with code in them that must not run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from standins import ModelScopeHandler, StandIn, serving

ROWS = 151936
FEED_FORWARD = 128  # a multiple of 64, in which bitsandbytes counts on a CPU, as the real ones are
END_OF_TEXT = 151643
TRAP = 'raise RuntimeError("code of the checkpoint ran")\n'

CONFIG: dict[str, Any] = {
    **tiny.V11_CONFIG,
    "architectures": ["QWenLMHeadModel"],
    "auto_map": {
        "AutoConfig": "configuration_qwen.QWenConfig",
        "AutoModelForCausalLM": "modeling_qwen.QWenLMHeadModel",
    },
    "attn_dropout_prob": 0.0,
    "bf16": False,
    "emb_dropout_prob": 0.0,
    "fp16": False,
    "fp32": False,
    "initializer_range": 0.02,
    "intermediate_size": 2 * FEED_FORWARD,
    "rotary_pct": 1.0,
    "scale_attn_weights": True,
    "tokenizer_class": "QWenTokenizer",
    "torch_dtype": "bfloat16",
    "transformers_version": "4.31.0",
    "use_cache": True,
    "use_flash_attn": "auto",
    "vocab_size": ROWS,
}
TOKENIZER_CONFIG: dict[str, Any] = {
    "model_max_length": 8192,
    "tokenizer_class": "QWenTokenizer",
    "auto_map": {"AutoTokenizer": ["tokenization_qwen.QWenTokenizer", None]},
}
CHAT_GENERATION: dict[str, Any] = {
    "chat_format": "chatml",
    "eos_token_id": END_OF_TEXT,
    "pad_token_id": END_OF_TEXT,
    "max_window_size": 6144,
    "max_new_tokens": 8,
    "do_sample": True,
    "top_k": 0,
    "top_p": 0.8,
    "repetition_penalty": 1.1,
    "transformers_version": "4.31.0",
}
BASE_GENERATION: dict[str, Any] = {
    "chat_format": "raw",
    "eos_token_id": END_OF_TEXT,
    "pad_token_id": END_OF_TEXT,
    "stop_words_ids": [[END_OF_TEXT]],
    "max_new_tokens": 8,
    "do_sample": True,
    "top_k": 0,
    "top_p": 0.8,
    "transformers_version": "4.31.0",
}
CODE = (
    "configuration_qwen.py",
    "modeling_qwen.py",
    "qwen_generation_utils.py",
    "tokenization_qwen.py",
    "cpp_kernels.py",
)


def write_original(folder: Path, vocabulary: Path, *, chat: bool = True) -> Path:
    """Qwen-7B-Chat, or Qwen-7B, with the vocabulary of qwen.tiktoken."""
    torch.manual_seed(0)
    tensors = tiny.qwen_tensors()
    for name in ("transformer.wte.weight", "lm_head.weight"):
        tensors[name] = tiny.random_tensor(ROWS, tiny.HIDDEN)
    for name in tensors:
        if name.endswith(("w1.weight", "w2.weight")):
            tensors[name] = tiny.random_tensor(FEED_FORWARD, tiny.HIDDEN)
        if name.endswith("mlp.c_proj.weight"):
            tensors[name] = tiny.random_tensor(tiny.HIDDEN, FEED_FORWARD)
    tensors = {name: tensor.bfloat16() for name, tensor in tensors.items()}
    generation = CHAT_GENERATION if chat else BASE_GENERATION
    tiny.write_folder(folder, CONFIG, tensors, shards=2, generation=generation)
    index = folder / "model.safetensors.index.json"
    size = sum(tensor.nbytes for tensor in tensors.values())
    index.write_text(json.dumps({"metadata": {"total_size": size}, **json.loads(index.read_text())}))
    (folder / "tokenizer_config.json").write_text(json.dumps(TOKENIZER_CONFIG))
    shutil.copyfile(vocabulary, folder / "qwen.tiktoken")
    for name in CODE:
        (folder / name).write_text(TRAP)
    return folder


@contextmanager
def modelscope_with(repositories: Mapping[str, Path], home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """A ModelScope of our own that has these folders, and for its library an empty cache in `home`."""
    import modelscope_hub.config

    monkeypatch.setenv("MODELSCOPE_CACHE", str(home / "cache"))
    monkeypatch.setenv("MODELSCOPE_HOME", str(home / "home"))
    monkeypatch.setattr(modelscope_hub.config, "_default_config", None)
    with serving(ModelScopeHandler) as server:
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", server.url)
        for repository, folder in repositories.items():
            server.repositories[repository] = {path.name: path.read_bytes() for path in folder.iterdir()}
        yield server
