"""The public face: these names, and every one of them resolves."""

from __future__ import annotations

import pytest

import qwen7b

PUBLIC = [
    "Agent",
    "CheckpointError",
    "DownloadError",
    "Greedy",
    "Message",
    "MissingExtraError",
    "ModelConfig",
    "ModelNotFoundError",
    "Piece",
    "PromptError",
    "Qwen",
    "Qwen7bError",
    "Reply",
    "ResourceError",
    "Sample",
    "SandboxError",
    "Score",
    "SettingError",
    "ToolServerError",
    "UnsupportedError",
    "chat_prompt",
    "load",
    "load_model",
    "load_tokenizer",
]


def test_the_public_names_are_these_and_sorted() -> None:
    assert qwen7b.__all__ == PUBLIC == sorted(PUBLIC)
    assert set(PUBLIC) <= set(dir(qwen7b))


@pytest.mark.parametrize("name", PUBLIC)
def test_each_name_resolves(name: str) -> None:
    assert getattr(qwen7b, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        qwen7b.lod  # noqa: B018
