"""Folders that are no checkpoint: the message has the path or the command that works."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import qwen7b
import tiny
from qwen7b.checkpoint import open_checkpoint
from qwen7b.doctor import diagnose
from qwen7b.errors import CheckpointError, Qwen7bError, UnsupportedError
from qwen7b.text import load_tokenizer


def said(folder: Path, kind: type[Qwen7bError] = CheckpointError) -> str:
    with pytest.raises(kind) as error:
        qwen7b.load(folder)
    if kind is not UnsupportedError:
        assert str(error.value) in [finding.message for finding in diagnose(folder).findings]
    return str(error.value)


def write_model(folder: Path) -> Path:
    return tiny.write_folder(folder, tiny.V11_CONFIG, tiny.qwen_tensors(), tokenizer=True)


def test_a_folder_of_the_hubs_cache(tmp_path: Path) -> None:
    repository = tmp_path / "hub" / "models--Qwen--Qwen-7B-Chat"
    snapshot = write_model(repository / "snapshots" / "0123abcd")
    (repository / "refs").mkdir()
    for given in (repository, repository / "snapshots"):
        message = said(given)
        assert "give the id Qwen/Qwen-7B-Chat" in message and str(snapshot) in message
    assert f"give {snapshot}" in said(tmp_path / "hub")


def test_a_folder_of_the_hubs_cache_without_its_files(tmp_path: Path) -> None:
    repository = tmp_path / "models--Qwen--Qwen-7B"
    (repository / "snapshots" / "0123").mkdir(parents=True)
    assert "give the id Qwen/Qwen-7B, which fetches what is missing" in said(repository)


@pytest.mark.parametrize("place", ["checkpoint-500", "output/final", "hub/models/Qwen/Qwen-7B-Chat"])
def test_a_folder_above_the_checkpoint(tmp_path: Path, place: str) -> None:
    write_model(tmp_path / place)
    (tmp_path / "logs").mkdir()
    write_model(tmp_path / "._____temp" / "Qwen-7B-Chat")
    message = said(tmp_path)
    assert message == f"{tmp_path} is not a checkpoint itself but holds a checkpoint: give {tmp_path / place}"
    open_checkpoint(tmp_path / place)


def test_a_folder_above_several(tmp_path: Path) -> None:
    for step in range(1, 8):
        write_model(tmp_path / f"checkpoint-{step}")
    message = said(tmp_path)
    assert "holds 7 checkpoints" in message and "checkpoint-5 … (2 more)" in message


def test_a_folder_above_a_gguf(tmp_path: Path) -> None:
    (tmp_path / "gguf").mkdir()
    (tmp_path / "gguf" / "model.gguf").touch()
    assert f"give {tmp_path / 'gguf' / 'model.gguf'}" in said(tmp_path)


@pytest.mark.parametrize("weights", ["adapter_model.safetensors", "adapter_model.bin"])
def test_an_adapter(tmp_path: Path, weights: str) -> None:
    fields = {"peft_type": "LORA", "base_model_name_or_path": "Qwen/Qwen-7B-Chat", "r": 8}
    (tmp_path / "adapter_config.json").write_text(json.dumps(fields))
    (tmp_path / weights).touch()
    message = said(tmp_path, UnsupportedError)
    assert "is an adapter for 'Qwen/Qwen-7B-Chat', not a complete model" in message
    assert f"qwen7b doctor {tmp_path}" in message


def test_settings_without_weights_above_a_checkpoint(tmp_path: Path) -> None:
    model = write_model(tmp_path / "checkpoint-500")
    (tmp_path / "config.json").write_text((model / "config.json").read_text())
    assert f"give {model}" in said(tmp_path)


def test_a_folder_above_an_adapter(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-9").mkdir()
    (tmp_path / "checkpoint-9" / "adapter_config.json").write_text('{"base_model_name_or_path": "Qwen/Qwen-7B"}')
    assert f"give {tmp_path / 'checkpoint-9'}" in said(tmp_path)
    assert "is an adapter for 'Qwen/Qwen-7B'" in said(tmp_path / "checkpoint-9", UnsupportedError)


def test_nothing_below(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "found empty" in said(tmp_path)


def test_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = tmp_path / "models--Qwen--Qwen-7B"
    write_model(repository / "snapshots" / "0123")
    monkeypatch.chdir(repository)
    assert "give the id Qwen/Qwen-7B, or one of its revisions: snapshots/0123" in said(Path())
    monkeypatch.chdir(tmp_path)
    assert "give models--Qwen--Qwen-7B/snapshots/0123" in said(Path())


def test_a_tokenizer_alone(tmp_path: Path) -> None:
    tiny.write_tokenizer_json(tmp_path / "tokenizer.json")
    with pytest.raises(CheckpointError, match="holds a tokenizer but no model"):
        open_checkpoint(tmp_path)
    assert diagnose(tmp_path).is_healthy


def test_a_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> list[str]:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("qwen7b.system.regular_file.os.listdir", refuse)
    for read in (open_checkpoint, load_tokenizer, diagnose):
        with pytest.raises(CheckpointError, match=f"{tmp_path} cannot be listed: Permission denied"):
            read(tmp_path)
