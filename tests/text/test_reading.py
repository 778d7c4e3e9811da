"""Finding the tokenizer at a path."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from qwen7b.errors import CheckpointError, ModelNotFoundError, Qwen7bError, SettingError, UnsupportedError
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


def test_a_folder_above_one_with_a_tokenizer(reference_json: Path, tmp_path: Path) -> None:
    place = tmp_path / "models--Qwen--Qwen-7B" / "snapshots" / "0123"
    place.mkdir(parents=True)
    shutil.copy(reference_json, place / "tokenizer.json")
    with pytest.raises(CheckpointError, match=f"there is one in {place}, so perhaps give that folder"):
        load_tokenizer(tmp_path)


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.model"
    path.touch()
    with pytest.raises(UnsupportedError, match="is not a tokenizer"):
        load_tokenizer(path)


def test_extra_vocabulary_goes_with_tiktoken_only(reference_json: Path) -> None:
    with pytest.raises(SettingError, match="extra_vocabulary needs a"):
        load_tokenizer(reference_json, extra_vocabulary="extra.tiktoken")


@pytest.mark.parametrize(
    "name",
    ["Qwen-7B-tokenizer.json", "qwen_tokenizer.json", "tokenizer/tokenizer.json", "checkpoint-9/tokenizer.json"],
)
def test_names_that_tools_give(reference_json: Path, ours: Tokenizer, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    shutil.copy(reference_json, path)
    with pytest.warns(UserWarning, match="is taken for the tokenizer, as there is no file with a usual name"):
        assert load_tokenizer(tmp_path).vocabulary.ids == ours.vocabulary.ids


@pytest.mark.parametrize("name", ["tokenizer.tiktoken", "Qwen-7B.tiktoken", "vocab.tiktoken"])
def test_tiktoken_files_of_other_names(qwen_vocabulary: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to(qwen_vocabulary)
    with pytest.warns(UserWarning, match=f"{name} is taken for the tokenizer"):
        assert load_tokenizer(tmp_path).vocab_size == 151851


def test_tokenizers_of_several_subfolders_are_not_guessed_from(reference_json: Path, tmp_path: Path) -> None:
    for inner in ("a", "b"):
        (tmp_path / inner).mkdir()
        shutil.copy(reference_json, tmp_path / inner / "tokenizer.json")
    with pytest.raises(CheckpointError, match="has no tokenizer"):
        load_tokenizer(tmp_path)


def test_several_that_could_be_meant(reference_json: Path, tmp_path: Path) -> None:
    for name in ("a-tokenizer.json", "b-tokenizer.json"):
        shutil.copy(reference_json, tmp_path / name)
    with pytest.raises(CheckpointError, match=r"several files like it \(a-tokenizer.json, b-tokenizer.json\)"):
        load_tokenizer(tmp_path)


def test_an_extra_vocabulary_is_not_the_tokenizer(reference_json: Path, tmp_path: Path) -> None:
    (tmp_path / "extra.tiktoken").touch()
    (tmp_path / "tokenizer_config.json").write_text('{"extra_vocab_file": "extra.tiktoken"}')
    with pytest.raises(CheckpointError, match="has no tokenizer"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("name", ["qwen.tiktoken", "tokenizer.json", "vocab.json", "model.gguf"])
def test_a_pointer_in_place_of_the_tokenizer(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    for given in (tmp_path, tmp_path / name):
        with pytest.raises(CheckpointError, match=f"{name} is a Git LFS pointer"):
            load_tokenizer(given)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"])
def test_a_byte_order_mark_is_no_content(ours: Tokenizer, reference_json: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "tokenizer.json").write_bytes(reference_json.read_bytes())
    if name != "tokenizer.json":
        (tmp_path / name).write_text("{}")
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + (tmp_path / name).read_bytes())
    assert load_tokenizer(tmp_path).vocabulary.ids == ours.vocabulary.ids


@pytest.mark.parametrize("path", ["x" * 5000, "a\0b", "", "/" + "x/" * 3000])
def test_names_that_no_file_can_have(path: str) -> None:
    with pytest.raises(Qwen7bError):
        load_tokenizer(path)
