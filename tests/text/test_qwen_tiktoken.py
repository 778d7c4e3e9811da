"""The original's vocabulary file, whole, extended and damaged."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest

from qwen7b.errors import CheckpointError
from qwen7b.text import Tokenizer, load_tokenizer

NUM_TOKENS = 151643


def line(token: bytes, id: int) -> bytes:
    return b64encode(token) + b" %d\n" % id


@pytest.fixture(scope="module")
def lines() -> list[bytes]:
    """As many tokens as Qwen has: every byte, every pair, and enough of three bytes."""
    tokens = (n.to_bytes(length, "big") for length in (1, 2, 3) for n in range(256**length))
    return [line(token, id) for id, token in enumerate(islice(tokens, NUM_TOKENS))]


@pytest.fixture(scope="module")
def folder(lines: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("qwen")
    (path / "qwen.tiktoken").write_bytes(b"".join(lines))
    return path


def extend(folder: Path, *extra: bytes) -> Path:
    path = folder / "qwen_extra.tiktoken"
    path.write_bytes(b"".join(extra))
    return path


def test_control_tokens_follow_the_text_tokens(folder: Path) -> None:
    tokenizer = load_tokenizer(folder)
    assert tokenizer.vocab_size == 151851
    assert len(tokenizer.control_tokens) == 208
    assert tokenizer.control_tokens["<|endoftext|>"] == tokenizer.end_of_text_id == NUM_TOKENS
    assert tokenizer.is_chatml


def test_extra_tokens(folder: Path, tmp_path: Path) -> None:
    extra = extend(tmp_path, line("我是".encode(), 151853))
    tokenizer = load_tokenizer(folder / "qwen.tiktoken", extra_vocabulary=extra)
    assert tokenizer.encode("我是") == [151853]
    assert tokenizer.decode([151853]) == "我是"
    assert not tokenizer.is_control(151853)
    assert tokenizer.vocab_size == 151854


def test_extra_tokens_that_clash_are_skipped_with_one_warning(folder: Path, tmp_path: Path) -> None:
    clashes = [line(b"a", 151851), line(b"one!", 5), line(b"two!", NUM_TOKENS), line(b"late", 151852)]
    extra = extend(tmp_path, line(b"new!", 151852), *clashes)
    with pytest.warns(UserWarning, match=r"skipped 4 tokens .* the first is 'a'"):
        tokenizer = load_tokenizer(folder / "qwen.tiktoken", extra_vocabulary=extra)
    assert tokenizer.vocab_size == 151853
    assert tokenizer.token_bytes(151852) == b"new!"


def test_a_folder_names_its_extra_vocabulary(lines: list[bytes], tmp_path: Path) -> None:
    (tmp_path / "qwen.tiktoken").write_bytes(b"".join(lines))
    extend(tmp_path, line("我是".encode(), 151851))
    config = tmp_path / "tokenizer_config.json"
    config.write_text(json.dumps({"tokenizer_class": "QWenTokenizer"}))
    assert load_tokenizer(tmp_path).vocab_size == 151851
    config.write_text(json.dumps({"extra_vocab_file": "/somewhere/else/qwen_extra.tiktoken"}))
    assert load_tokenizer(tmp_path).vocab_size == 151852


def test_the_original_is_whole(qwen: Tokenizer) -> None:
    assert sorted(qwen.vocabulary.ids.values()) == list(range(NUM_TOKENS))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda lines: lines[:1000], "150643 of Qwen's 151643 tokens are missing, the first has the id 1000"),
        (lambda lines: [*lines[:-1], lines[-1][:4]], "damaged"),
        (lambda lines: [*lines[:-1], lines[-1][:-3]], "share the id 1516|tokens are missing"),
        (lambda lines: [*lines, b"a b c\n"], "damaged"),
        (lambda lines: [*lines, b"!!!! 200000\n"], "damaged"),
        (lambda lines: [*lines, b"QUJD 0x1\n"], "damaged"),
        (lambda lines: [*lines, lines[7]], "151643 different tokens"),
        (lambda lines: [*lines, line(b"long enough", 9)], "share the id 9"),
        (lambda lines: [*lines, line(b"long enough", NUM_TOKENS)], "share the id 151643"),
        (lambda lines: [*lines, line(b"long enough", 10**12)], "has the id 1000000000000"),
        (lambda lines: [*lines, line(b"long enough", -1)], "has the id -1"),
        (lambda lines: [line(b"long enough", 0), *lines[1:]], "the byte 0x00 has no token"),
        (lambda lines: [b"version https://git-lfs.github.com/spec/v1\n"], "damaged"),
        (lambda lines: [], "incomplete"),
    ],
)  # fmt: skip
def test_damage(lines: list[bytes], tmp_path: Path, change: Callable[[list[bytes]], list[bytes]], reason: str) -> None:
    path = tmp_path / "qwen.tiktoken"
    path.write_bytes(b"".join(change(lines)))
    with pytest.raises(CheckpointError, match=reason) as caught:
        load_tokenizer(path)
    assert str(path) in str(caught.value)


def test_a_missing_extra_vocabulary_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none\.tiktoken cannot be read: No such file"):
        load_tokenizer(folder / "qwen.tiktoken", extra_vocabulary=tmp_path / "none.tiktoken")


def test_a_token_that_comes_twice_is_named(folder: Path, tmp_path: Path) -> None:
    extra = extend(tmp_path, line(b"one!", 151851), line("只猫".encode(), 151852), line("只猫".encode(), 151853))
    with pytest.raises(CheckpointError, match=r"it has 3 lines but 2 different tokens, as '只猫' comes more than once"):
        load_tokenizer(folder / "qwen.tiktoken", extra_vocabulary=extra)
