"""Token shards: what was written is read, and what is damaged or of another tokenizer is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

import tiny
from data.sharding import write_shards
from qwen7b.data.shards import Shards, read_index, tokenizer_digest
from qwen7b.errors import CheckpointError, SettingError
from qwen7b.text import Tokenizer, load_tokenizer

TEXTS = ["hello", "", "the tin", "你好", "x" * 50]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return load_tokenizer(tiny.write_tokenizer_json(tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"))


def write(folder: Path, tokenizer: Tokenizer, texts: list[str] = TEXTS, **settings: int) -> Path:
    write_shards(map(tokenizer.encode, texts), folder, tokenizer=tokenizer, **settings)
    return folder


@pytest.mark.parametrize("max_file_tokens", [1, 20, 1 << 28])
def test_documents_are_read_as_they_were_written(tmp_path: Path, tokenizer: Tokenizer, max_file_tokens: int) -> None:
    folder = write(tmp_path / "shards", tokenizer, max_file_tokens=max_file_tokens)
    shards = Shards([folder], tokenizer=tokenizer)
    expected = [[*tokenizer.encode(text), tokenizer.end_of_text_id] for text in TEXTS]
    assert [ids.tolist() for ids in shards.documents()] == expected
    assert shards.lengths.tolist() == [*map(len, expected)] and shards.num_tokens == sum(map(len, expected))
    assert shards.read(4, 1, 3).dtype == np.int64 and shards.read(4, 1, 3).tolist() == expected[4][1:3]
    index = read_index(folder)
    assert (index.num_documents, index.num_bytes, index.id_bytes) == (5, sum(len(text.encode()) for text in TEXTS), 2)
    assert len(index.files) == {1: 5, 20: 2}.get(max_file_tokens, 1)


def test_several_folders_are_one_corpus(tmp_path: Path, tokenizer: Tokenizer) -> None:
    folders = [write(tmp_path / "a", tokenizer, ["hello"]), write(tmp_path / "b", tokenizer, ["the", "tin"])]
    shards = Shards(folders, tokenizer=tokenizer)
    assert [tokenizer.decode(ids[:-1]) for ids in shards.documents()] == ["hello", "the", "tin"]
    assert shards.digest != Shards(folders[::-1], tokenizer=tokenizer).digest


def test_another_tokenizer_than_the_shards_is_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    folder = write(tmp_path / "shards", tokenizer)
    ids = dict(tokenizer.vocabulary.ids)
    ids[b"th"], ids[b"he"] = ids[b"he"], ids[b"th"]
    other = Tokenizer(dataclasses.replace(tokenizer.vocabulary, ids=ids, source="other.json"))
    with pytest.raises(SettingError, match=r"was made with another tokenizer .* than other\.json"):
        Shards([folder], tokenizer=other)


def test_a_tokenizer_is_the_same_from_another_file(tmp_path: Path, tokenizer: Tokenizer) -> None:
    other = load_tokenizer(tiny.write_vocab_json(tmp_path))
    assert other.vocabulary.source != tokenizer.vocabulary.source
    assert tokenizer_digest(other) == tokenizer_digest(tokenizer)
    without_nfc = Tokenizer(dataclasses.replace(tokenizer.vocabulary, nfc=False))
    assert tokenizer_digest(without_nfc) != tokenizer_digest(tokenizer)


@pytest.mark.parametrize("name", ["00000.tokens", "00000.ends"])
@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_damage_is_found(tmp_path: Path, tokenizer: Tokenizer, name: str, damage: str) -> None:
    path = write(tmp_path / "shards", tokenizer) / name
    data = bytearray(path.read_bytes())
    data[3] ^= 1
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(data[:-2] if damage == "cut" else data)
    with pytest.raises(CheckpointError, match=rf"{name} is not what was written there"):
        Shards([tmp_path / "shards"], tokenizer=tokenizer)


def test_what_is_no_folder_of_shards_is_named(tmp_path: Path, tokenizer: Tokenizer) -> None:
    with pytest.raises(CheckpointError, match=r"has no shards\.json: make shards by qwen7b data tokenize"):
        Shards([tmp_path], tokenizer=tokenizer)
    (tmp_path / "shards.json").write_text(json.dumps({"format": "of tomorrow"}))
    with pytest.raises(CheckpointError, match="of the format 'of tomorrow'"):
        Shards([tmp_path], tokenizer=tokenizer)


def test_a_folder_that_is_there_stays(tmp_path: Path, tokenizer: Tokenizer) -> None:
    folder = write(tmp_path / "shards", tokenizer)
    with pytest.raises(SettingError, match="is there already"):
        write(folder, tokenizer, ["else"])
    assert read_index(folder).num_documents == len(TEXTS)


def test_nothing_is_left_of_shards_that_failed(tmp_path: Path, tokenizer: Tokenizer) -> None:
    def texts():
        yield tokenizer.encode("hello")
        raise ValueError("the source failed")

    with pytest.raises(ValueError, match="the source failed"):
        write_shards(texts(), tmp_path / "shards", tokenizer=tokenizer)
    with pytest.raises(SettingError, match="there is no document"):
        write_shards([], tmp_path / "shards", tokenizer=tokenizer)
    assert [*tmp_path.iterdir()] == []
