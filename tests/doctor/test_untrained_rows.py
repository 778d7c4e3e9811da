"""Rows of control tokens that were never trained are told from those that were."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny
from qwen7b.checkpoint import open_checkpoint
from qwen7b.doctor import diagnose
from qwen7b.doctor.untrained_rows import chat_controls, untrained_controls
from qwen7b.text import load_tokenizer

NAMES = ["<|im_start|>", "<|im_end|>"]


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A model whose trained rows share a direction, and whose unused rows are the same."""
    tensors = tiny.qwen2_tensors()
    shared = torch.randn(tiny.HIDDEN)
    rows = tensors["model.embed_tokens.weight"] + shared
    rows[269:] = shared * 0.7
    tensors["model.embed_tokens.weight"] = rows
    return tiny.write_folder(tmp_path / "base", tiny.QWEN2_CONFIG, tensors, tokenizer=True)


def found(folder: Path) -> list[str]:
    return untrained_controls(open_checkpoint(folder), load_tokenizer(folder))


def change(folder: Path, rows: torch.Tensor) -> Path:
    tensors = load_file(folder / "model.safetensors")
    tensors["model.embed_tokens.weight"][267:269] = rows
    save_file(tensors, folder / "model.safetensors")
    return folder


def test_trained_rows_are_no_finding(trained: Path) -> None:
    assert chat_controls(load_tokenizer(trained)) == dict(zip(NAMES, (267, 268), strict=True))
    assert found(trained) == []
    diagnosis = diagnose(trained)
    assert "untrained" not in diagnosis.facts and not any("never" in each.message for each in diagnosis.findings)


@pytest.mark.parametrize("kind", ["same", "shrunk", "random"])
def test_untrained_rows(trained: Path, kind: str) -> None:
    unused = load_file(trained / "model.safetensors")["model.embed_tokens.weight"][300]
    random = torch.randn(2, tiny.HIDDEN)
    random -= random @ unused[:, None] * unused / unused.square().sum()  # of so few dimensions chance shows
    change(trained, {"same": unused, "shrunk": unused * 0 + 1e-4, "random": random}[kind])
    assert found(trained) == NAMES
    diagnosis = diagnose(trained)
    assert diagnosis.facts["untrained"] == NAMES
    [finding] = [each.message for each in diagnosis.findings if "train sft" in each.message]
    assert finding.startswith("the rows of <|im_start|>, <|im_end|> look untrained, so replies will not end")


def test_of_a_base_model_it_is_a_fact_and_no_fault(trained: Path) -> None:
    change(trained, torch.zeros(2, tiny.HIDDEN))
    (trained / "generation_config.json").write_text(json.dumps({"chat_format": "raw", "eos_token_id": 266}))
    diagnosis = diagnose(trained)
    assert diagnosis.facts["untrained"] == NAMES and not any("train sft" in each.message for each in diagnosis.findings)


def test_random_weights_tell_nothing(tmp_path: Path) -> None:
    assert found(tiny.write_folder(tmp_path / "base", tiny.QWEN2_CONFIG, tiny.qwen2_tensors(), tokenizer=True)) == []


@pytest.mark.demo
def test_the_demo_model_was_trained_on_its_controls(demo_gguf: Path) -> None:
    checkpoint, tokenizer = open_checkpoint(demo_gguf), load_tokenizer(demo_gguf)
    assert untrained_controls(checkpoint, tokenizer) == []
