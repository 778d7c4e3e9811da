"""Whether a model chats is decided by all that its files say, and what decided it is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import tiny
from qwen7b.checkpoint import open_checkpoint
from qwen7b.checkpoint.chat_verdict import decide_chat, find_endings
from qwen7b.text import load_tokenizer

CHATML = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
CHATML += "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
OTHER = "{% for m in messages %}{{ m.role + ': ' + m.content + '<|endoftext|>' }}{% endfor %}"


def write(folder: Path, family: str, files: dict[str, Any]) -> Path:
    config = tiny.V11_CONFIG if family == "qwen" else tiny.QWEN2_CONFIG
    tensors = tiny.qwen_tensors() if family == "qwen" else tiny.qwen2_tensors()
    tiny.write_folder(folder, {**config, **files.pop("config.json", {})}, tensors, tokenizer=True)
    for name, fields in files.items():
        (folder / name).write_text(json.dumps(fields))
    return folder


@pytest.mark.parametrize(
    ("family", "files", "is_chat", "reason"),
    [
        ("qwen", {"generation_config.json": {"chat_format": "chatml"}}, True, "generation_config.json (chat_format)"),
        ("qwen", {"generation_config.json": {"chat_format": "raw"}}, False, "generation_config.json (chat_format)"),
        ("qwen", {"generation_config.json": {"eos_token_id": 266}}, True, "tokenizer.json"),
        ("qwen2", {}, True, "tokenizer.json"),
        ("qwen2", {"generation_config.json": {"eos_token_id": 266}}, False, "generation_config.json (eos_token_id)"),
        ("qwen2", {"config.json": {"eos_token_id": 266}}, False, "config.json (eos_token_id)"),
        (
            "qwen2",
            {"tokenizer_config.json": {"eos_token": "<|endoftext|>"}},
            False,
            "tokenizer_config.json (eos_token)",
        ),
        ("qwen2", {"tokenizer_config.json": {"chat_template": CHATML}}, True, "tokenizer.json"),
        (
            "qwen2",
            {"generation_config.json": {"eos_token_id": 266}, "tokenizer_config.json": {"chat_template": CHATML}},
            False,
            "generation_config.json (eos_token_id)",
        ),
        (
            "qwen2",
            {"generation_config.json": {"eos_token_id": 266}, "tokenizer_config.json": {"eos_token": "<|im_end|>"}},
            True,
            "tokenizer_config.json (eos_token)",
        ),
        (
            "qwen2",
            {"generation_config.json": {"eos_token_id": 266}, "config.json": {"eos_token_id": [268]}},
            True,
            "config.json (eos_token_id)",
        ),
        ("qwen2", {"generation_config.json": {"stop_words_ids": [[268]], "eos_token_id": 266}}, True, "stop_words_ids"),
        ("qwen2", {"special_tokens_map.json": {"eos_token": "<|im_end|>"}}, True, "special_tokens_map.json"),
        (
            "qwen2",
            {"generation_config.json": {"eos_token_id": 266}, "tokenizer_config.json": {"chat_template": OTHER}},
            True,
            "tokenizer_config.json (chat_template)",
        ),
    ],
)
def test_what_decides(tmp_path: Path, family: str, files: dict[str, Any], is_chat: bool, reason: str) -> None:
    checkpoint = open_checkpoint(write(tmp_path, family, dict(files)))
    verdict = decide_chat(checkpoint.generation, load_tokenizer(tmp_path), checkpoint.config)
    assert verdict.is_chat == is_chat and reason in verdict.reason


def test_a_stale_ending_in_config_json_counts_only_if_it_is_a_control_token(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(write(tmp_path, "qwen2", {"config.json": {"eos_token_id": [2, 268]}}))
    endings = find_endings(checkpoint.generation, load_tokenizer(tmp_path))
    assert set(endings) == {266, 267, 268} and endings[268] == f"{tmp_path / 'config.json'} (eos_token_id)"
