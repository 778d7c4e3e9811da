"""Tiny checkpoints to convert, each with a tokenizer, and ways to look at what comes out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

import tiny
from qwen7b.loading import load_model

IDS = torch.arange(1, 40)[None]
CHAT = {"chat_format": "chatml", "eos_token_id": 266, "max_window_size": 6144, "max_new_tokens": 24}
SAMPLING = {"do_sample": True, "top_p": 0.8, "top_k": 0, "repetition_penalty": 1.1}
GENERATIONS: dict[str, dict[str, Any]] = {
    "qwen": {**CHAT, **SAMPLING},
    "qwen2": {"eos_token_id": [268, 266], **SAMPLING},
    "llama": {"eos_token_id": 268},
}


def write_source(folder: Path, kind: str, **settings: Any) -> Path:
    """A tiny chat model of kind qwen, qwen2 or llama; `settings` are those of tiny.write_folder."""
    config = {"qwen": tiny.V11_CONFIG, "qwen2": tiny.QWEN2_CONFIG, "llama": tiny.LLAMA_CONFIG}[kind]
    tensors = (
        tiny.qwen_tensors()
        if kind == "qwen"
        else tiny.qwen2_tensors(bias=kind == "qwen2", head=not config["tie_word_embeddings"])
    )
    settings = {"generation": GENERATIONS[kind], "tokenizer": True, **settings}
    return tiny.write_folder(folder, settings.pop("config", config), settings.pop("tensors", tensors), **settings)


@torch.inference_mode()
def logits_of(path: Path) -> torch.Tensor:
    return load_model(path, dtype=torch.float32)(IDS)


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}


def read(folder: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / name).read_text("utf-8"))
    return content


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
