"""What the doctor says of how a model would generate: the same that generating says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import qwen7b
import tiny
from qwen7b.convert import convert
from qwen7b.doctor import diagnose
from qwen7b.errors import Qwen7bError
from qwen7b.generate import Greedy, Sample
from text import templates


def write(folder: Path, generation: dict[str, Any], **tokenizer_config: Any) -> Path:
    tiny.write_folder(folder, tiny.V11_CONFIG, tiny.qwen_tensors(), tokenizer=True, generation=generation)
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer_config))
    return folder


@pytest.mark.parametrize("zero", [{"temperature": 0}, {"temperature": 0.0}, {"top_p": 0}])
def test_sampling_without_chance_is_told(tmp_path: Path, zero: dict[str, Any]) -> None:
    found = diagnose(write(tmp_path, {"do_sample": True, "eos_token_id": [268, 266], **zero}))
    assert found.is_healthy
    assert any("which is greedy: set do_sample to false" in str(finding) for finding in found.findings)
    assert qwen7b.load(tmp_path, quantize="none").default_sampling == Greedy()


@pytest.mark.parametrize("more", [{}, {"repetition_penalty": 1.1}])
def test_do_sample_alone_samples(tmp_path: Path, more: dict[str, Any]) -> None:
    write(tmp_path / "a", {"do_sample": True, "eos_token_id": [268, 266], **more})
    assert qwen7b.load(tmp_path / "a", quantize="none").default_sampling == Sample(temperature=1.0, **more)
    convert(tmp_path / "a", tmp_path / "b", to="qwen2")
    assert json.loads((tmp_path / "b" / "generation_config.json").read_text())["do_sample"] is True


@pytest.mark.parametrize(
    "broken", [{"do_sample": True, "temperature": "hot"}, {"max_new_tokens": "many"}, {"max_window_size": -1}]
)
def test_what_is_broken_is_told_as_a_call_tells_it(tmp_path: Path, broken: dict[str, Any]) -> None:
    found = diagnose(write(tmp_path, {"chat_format": "chatml", **broken}))
    with pytest.raises(Qwen7bError) as raised:
        qwen7b.load(tmp_path, quantize="none").chat("hello")
    assert not found.is_healthy
    assert any(str(raised.value) in str(finding) for finding in found.findings)


def test_a_chat_template_that_cannot_be_rendered_is_told(tmp_path: Path) -> None:
    found = diagnose(write(tmp_path, {"chat_format": "chatml"}, chat_template="{{ nothing.at.all }}"))
    assert not found.is_healthy
    assert any("(chat_template) cannot be rendered" in str(finding) for finding in found.findings)
    found = diagnose(write(tmp_path, {"chat_format": "chatml"}, chat_template=templates.TRIMMED))
    assert found.is_healthy and found.facts["chat"]
