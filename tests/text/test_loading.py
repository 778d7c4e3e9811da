"""Finding the tokenizer at a path."""

from __future__ import annotations

from pathlib import Path

import pytest

from qwen7b.errors import CheckpointError, ModelNotFoundError, SettingError, UnsupportedError
from qwen7b.text import Tokenizer, load_tokenizer


def test_file_folder_and_string_are_the_same(reference_json: Path, ours: Tokenizer) -> None:
    for path in (reference_json, reference_json.parent, str(reference_json)):
        assert load_tokenizer(path).vocabulary == ours.vocabulary


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="no file or folder"):
        load_tokenizer(tmp_path / "qwen.tiktoken")


def test_a_folder_without_a_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no tokenizer: it should hold one of qwen\.tiktoken, tokenizer\.json"):
        load_tokenizer(tmp_path)


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.model"
    path.touch()
    with pytest.raises(UnsupportedError, match="is no tokenizer"):
        load_tokenizer(path)


def test_extra_vocabulary_goes_with_tiktoken_only(reference_json: Path) -> None:
    with pytest.raises(SettingError, match="goes with a .tiktoken file"):
        load_tokenizer(reference_json, extra_vocabulary="extra.tiktoken")
