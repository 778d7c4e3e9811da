"""Exported vocabularies: the tokenizers library and our own readers take them for the ones they were."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given

from qwen7b.errors import UnsupportedError
from qwen7b.text import Tokenizer, load_tokenizer
from qwen7b.text.export import gguf_tokenizer, merges_of, qwen_tiktoken, spelled_ids, tokenizer_json
from qwen7b.text.qwen_tiktoken import read_qwen_tiktoken
from qwen7b.text.vocabulary import Vocabulary
from text.synthetic import CONTROL, texts


@pytest.fixture(scope="module")
def exported(ours: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "tokenizer.json"
    document = tokenizer_json(ours.vocabulary, merges=list(merges_of(ours.vocabulary)), visible={CONTROL[2]})
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def test_merges_come_back_from_ranks(ours: Tokenizer, reference: tokenizers.Tokenizer) -> None:
    expected = json.loads(reference.to_str())["model"]["merges"]
    assert [list(merge) for merge in merges_of(ours.vocabulary)] == [list(merge) for merge in expected]


def test_tokenizer_json_is_the_same_vocabulary(ours: Tokenizer, exported: Path) -> None:
    again = load_tokenizer(exported).vocabulary
    for field in ("ids", "ranks", "control_tokens", "pattern", "nfc"):
        assert getattr(again, field) == getattr(ours.vocabulary, field), field


def test_the_tokenizers_library_encodes_alike(ours: Tokenizer, exported: Path) -> None:
    library = tokenizers.Tokenizer.from_file(str(exported))

    @given(texts)
    def check(text: str) -> None:
        ids = library.encode(text).ids
        assert ids == ours.encode(text)
        assert library.decode(ids) == ours.decode(ids)

    check()
    for name, id in ours.control_tokens.items():
        assert library.token_to_id(name) == id
        assert library.encode(name).ids == [id]
    ids = [ours.control_tokens[name] for name in CONTROL]
    assert library.decode(ids) == CONTROL[2], "only the visible one is shown"


def test_gguf_fields(ours: Tokenizer) -> None:
    vocabulary = ours.vocabulary
    rows = ours.vocab_size + 3
    fields = gguf_tokenizer(vocabulary, vocab_rows=rows, merges=list(merges_of(vocabulary)), visible={CONTROL[1]})
    tokens, types = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    assert len(tokens) == len(types) == len(set(tokens)) == rows
    assert [types[ours.control_tokens[name]] for name in CONTROL] == [3, 4, 3]
    assert types[-3:] == [5, 5, 5] and set(types) == {1, 3, 4, 5}
    assert all(types[id] == 1 for id in vocabulary.ids.values())


def test_a_token_that_no_merge_makes() -> None:
    ids = {bytes([byte]): byte for byte in range(256)} | {b"abc": 256}
    odd = Vocabulary(source="odd", ids=ids, ranks=ids, control_tokens={}, pattern="", nfc=True)
    with pytest.raises(UnsupportedError, match="odd has the token b'abc', which merging pairs leaves in 3 parts"):
        list(merges_of(odd))


def test_cutting_that_gguf_has_no_name_for(ours: Tokenizer) -> None:
    odd = replace(ours.vocabulary, nfc=not ours.vocabulary.nfc)
    with pytest.raises(UnsupportedError, match="which GGUF cannot express"):
        gguf_tokenizer(odd, vocab_rows=1000, merges=[])


def test_other_vocabularies_are_not_the_original(ours: Tokenizer) -> None:
    assert qwen_tiktoken(ours.vocabulary) is None


def test_the_original_vocabulary_is_known_and_reads_back(qwen: Tokenizer, tmp_path: Path) -> None:
    content = qwen_tiktoken(qwen.vocabulary)
    assert content is not None
    (tmp_path / "qwen.tiktoken").write_bytes(content)
    assert read_qwen_tiktoken(tmp_path / "qwen.tiktoken").ids == qwen.vocabulary.ids
    assert len(list(merges_of(qwen.vocabulary))) == 151643 - 256
    assert len(spelled_ids(qwen.vocabulary)) == 151643, "control tokens follow, so the library numbers them rightly"
