"""A model loaded with an adapter talks as the adapted one does, and keeps nothing of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import qwen7b
import tiny
from qwen7b.adapters.adapted_modules import adapter_of, add_adapter
from qwen7b.adapters.adapter_files import write_adapter
from qwen7b.adapters.settings import DEFAULT_TARGETS, LoraSettings
from qwen7b.config import Family
from qwen7b.errors import CheckpointError


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tiny.write_folder(tmp_path / "base", tiny.QWEN2_CONFIG, tiny.qwen2_tensors(), tokenizer=True)


@pytest.fixture
def adapter(base: Path, tmp_path: Path) -> Path:
    settings = LoraSettings(targets=DEFAULT_TARGETS[Family.QWEN2], rank=8, alpha=64)
    model = qwen7b.load_model(base, dtype="float32")
    add_adapter(model, settings)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter))
    write_adapter(tmp_path / "adapter", adapter_of(model, settings), base=str(base))
    return tmp_path / "adapter"


def test_load_with_an_adapter(base: Path, adapter: Path) -> None:
    expected = qwen7b.load_model(base, dtype="float32", adapter=adapter)(tiny.IDS)
    for settings in ({"dtype": "float32"}, {"quantize": "none"}):
        qwen = qwen7b.load(base, adapter=adapter, **settings)
        torch.testing.assert_close(qwen.model(tiny.IDS), expected)
        assert qwen.name == f"{base} with {adapter}"
    packed = qwen7b.load(base, adapter=adapter, quantize="q8")
    assert packed.model.weights_file is None and packed.model.weight_format == "q8"
    plain = qwen7b.load(base, quantize="q8").model(tiny.IDS)
    assert not torch.allclose(packed.model(tiny.IDS), plain, atol=0.1)


def test_prompts_of_another_adapter_are_not_taken(base: Path, adapter: Path, tmp_path: Path) -> None:
    question = "the inner " * 12
    plain = qwen7b.load(base, dtype="float32", prompt_cache=tmp_path / "prompts")
    before = plain.complete(question, max_new_tokens=8, temperature=0).text
    adapted = qwen7b.load(base, dtype="float32", adapter=adapter)
    cached = qwen7b.load(base, dtype="float32", adapter=adapter, prompt_cache=tmp_path / "prompts")
    expected = adapted.complete(question, max_new_tokens=8, temperature=0).text
    assert cached.complete(question, max_new_tokens=8, temperature=0).text == expected != before


def test_what_is_no_adapter_is_refused_before_weights_are_read(base: Path) -> None:
    with pytest.raises(CheckpointError, match="so it is no adapter"):
        qwen7b.load(base, adapter=base)
