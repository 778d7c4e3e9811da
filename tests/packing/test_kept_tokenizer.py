"""Tokenizers kept beside packed weights: the same ids at every start, whatever happened to the files meanwhile."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path

import pytest

import qwen7b
from converting import write_source
from qwen7b.packing import kept_tokenizer as kept
from qwen7b.packing.kept_tokenizer import kept_tokenizer
from qwen7b.packing.places import vocabulary_path
from qwen7b.text import Tokenizer, load_tokenizer

TEXT = "the inner hello 你好 1234"


@pytest.fixture
def source(tmp_path: Path, cache: Path) -> Path:
    return write_source(tmp_path / "source", "qwen2")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The paths whose tokenizer was read from the source's own files."""
    paths: list[Path] = []

    def read(path: Path) -> Tokenizer:
        paths.append(path)
        return load_tokenizer(path)

    monkeypatch.setattr(kept, "load_tokenizer", read)
    return paths


def swap_ids(path: Path) -> None:
    """Give two tokens each other's id: the file keeps its size."""
    document = json.loads(path.read_text(encoding="utf-8"))
    vocabulary = document["model"]["vocab"]
    first, second = (token for token, id in vocabulary.items() if id in (65, 66))
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    path.write_text(json.dumps(document), encoding="utf-8")


def test_the_second_start_reads_what_the_first_one_kept(source: Path, cache: Path, reads: list[Path]) -> None:
    first, second = kept_tokenizer(source), kept_tokenizer(source)
    assert reads == [source]
    assert first.vocabulary == second.vocabulary == load_tokenizer(source).vocabulary
    assert first.encode(TEXT) == second.encode(TEXT)
    assert [path.suffix for path in (cache / "packed").iterdir()] == [".vocabulary"]


def test_packed_starts_keep_it_and_others_do_not(source: Path, cache: Path, reads: list[Path]) -> None:
    assert qwen7b.load(source, quantize="none").tokenizer and not (cache / "packed").exists()
    replies = [qwen7b.load(source, quantize="q8").chat("hello", sampling=qwen7b.Greedy()) for _ in range(2)]
    assert reads == [source] and replies[0] == replies[1]


@pytest.mark.parametrize("keeps_time", [False, True])
def test_an_edited_tokenizer_is_read_again(source: Path, reads: list[Path], keeps_time: bool) -> None:
    path = source / "tokenizer.json"
    swap_ids(path)
    swap_ids(path)  # as json.dumps writes it
    before = kept_tokenizer(source)
    stat = path.stat()
    swap_ids(path)
    if keeps_time:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        assert (path.stat().st_size, path.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    after = kept_tokenizer(source)
    assert after.vocabulary == load_tokenizer(source).vocabulary != before.vocabulary
    assert reads == [source, source]


def test_another_model_in_the_same_place(source: Path, tmp_path: Path, reads: list[Path]) -> None:
    other = write_source(tmp_path / "other", "qwen2")
    swap_ids(other / "tokenizer.json")
    expected = load_tokenizer(other).vocabulary.ids
    assert kept_tokenizer(source).vocabulary.ids != expected
    source.rename(tmp_path / "gone")
    other.rename(source)
    assert kept_tokenizer(source).vocabulary.ids == expected


def test_the_kept_file_of_another_model_is_not_taken(source: Path, tmp_path: Path, reads: list[Path]) -> None:
    other = write_source(tmp_path / "other", "qwen2")
    swap_ids(other / "tokenizer.json")
    expected = kept_tokenizer(source).vocabulary
    kept_tokenizer(other)
    os.replace(vocabulary_path(other), vocabulary_path(source))
    assert kept_tokenizer(source).vocabulary == expected
    assert reads == [source, other, source]


@pytest.mark.parametrize("content", [b"", b"\x80\x04K\x01.", b"{}", None], ids=["empty", "pickle", "json", "cut"])
def test_a_damaged_file_is_made_anew(source: Path, reads: list[Path], content: bytes | None) -> None:
    expected = kept_tokenizer(source).vocabulary
    path = vocabulary_path(source)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] if content is None else content)
    assert kept_tokenizer(source).vocabulary == expected
    assert path.read_bytes() == whole and reads == [source, source]


def test_a_folder_or_a_pipe_in_its_place(source: Path, cache: Path) -> None:
    path = vocabulary_path(source)
    path.mkdir(parents=True)
    assert kept_tokenizer(source).encode(TEXT) == load_tokenizer(source).encode(TEXT)
    path.rmdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(path)
        assert kept_tokenizer(source).encode(TEXT) == load_tokenizer(source).encode(TEXT)


def test_a_file_without_end_or_a_pointer_in_its_place(source: Path, cache: Path) -> None:
    path, expected = vocabulary_path(source), load_tokenizer(source).encode(TEXT)
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.truncate(1 << 40)
    assert kept_tokenizer(source).encode(TEXT) == expected and path.stat().st_size < 1 << 20
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    assert kept_tokenizer(source).encode(TEXT) == expected
    if Path("/dev/zero").exists():
        path.unlink()
        path.symlink_to("/dev/zero")
        assert kept_tokenizer(source).encode(TEXT) == expected


def test_a_cache_that_cannot_be_written(source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = source / "config.json"  # no folder can be made below a file, not even by root
    monkeypatch.setenv("QWEN7B_CACHE", str(blocked))
    assert kept_tokenizer(source).encode(TEXT) == load_tokenizer(source).encode(TEXT)


def test_what_warns_warns_at_every_start(source: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def read(path: Path) -> Tokenizer:
        warnings.warn("the pre-tokenizer is a guess", stacklevel=2)
        return load_tokenizer(path)

    monkeypatch.setattr(kept, "load_tokenizer", read)
    for _ in range(2):
        with pytest.warns(UserWarning, match="a guess"):
            kept_tokenizer(source)
