"""New vocabularies: our tokenizer and the tokenizers library read them alike, and every token is reached."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen7b.errors import SettingError
from qwen7b.text import Tokenizer, load_tokenizer
from qwen7b.vocab.byte_pairs import train_vocabulary, write_vocabulary

pytest.importorskip("rustbpe")
TEXTS = [Path(__file__).read_text("utf-8"), "你好，世界！世界很大。" * 3, "The tin is in the inn. " * 20]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vocabulary") / "tokenizer.json"
    write_vocabulary(train_vocabulary(TEXTS, num_tokens=400), path)
    return path


@pytest.fixture(scope="module")
def tokenizer(file: Path) -> Tokenizer:
    return load_tokenizer(file)


def test_it_has_the_size_that_was_asked_for(tokenizer: Tokenizer) -> None:
    assert tokenizer.vocab_size == 400 and tokenizer.unused_ids == []
    assert tokenizer.control_tokens == {"<|endoftext|>": 397, "<|im_start|>": 398, "<|im_end|>": 399}
    assert tokenizer.is_chatml


def test_texts_are_shorter_and_come_back(tokenizer: Tokenizer) -> None:
    for text in TEXTS:
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text and len(ids) < 0.7 * len(text.encode())


def test_every_token_is_reached(tokenizer: Tokenizer) -> None:
    unreached = [
        token
        for token, id in tokenizer.vocabulary.ids.items()
        if tokenizer._encoding._encode_single_piece(token) != [id]
    ]
    assert unreached == []


@given(st.text())
def test_the_tokenizers_library_agrees(file: Path, tokenizer: Tokenizer, text: str) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    assert tokenizers.Tokenizer.from_file(str(file)).encode(text, add_special_tokens=False).ids == tokenizer.encode(
        text
    )


def test_too_little_text_is_said(tokenizer: Tokenizer) -> None:
    with pytest.raises(SettingError, match=r"the texts make a vocabulary of 26\d tokens at most, not 5,000"):
        train_vocabulary(["abc abc"], num_tokens=5000)
    with pytest.raises(SettingError, match="num_tokens must be a whole number from 260"):
        train_vocabulary(["abc abc"], num_tokens=259)
