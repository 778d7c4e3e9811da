"""Pieces are what the tokenizer itself would cut."""

from __future__ import annotations

import unicodedata

from hypothesis import given

from qwen7b.text import Tokenizer
from qwen7b.vocab.pieces import count_pieces
from text import synthetic
from text.conftest import ours, reference, reference_json, style  # noqa: F401  # fixtures


@given(text=synthetic.texts)
def test_encoding_the_pieces_is_encoding_the_text(ours: Tokenizer, text: str) -> None:  # noqa: F811
    found = count_pieces([text, text], ours)
    assert all(count % 2 == 0 for count in found.counts.values())
    ids = [id for piece in found.counts.elements() for id in ours.encode_as_is(piece)]
    assert sorted(ids) == sorted(ours.encode(text) * 2)
    assert (found.texts, found.characters, found.bytes) == (2, 2 * len(text), 2 * len(text.encode()))


def test_texts_are_normalized_where_the_tokenizer_normalizes(words: Tokenizer) -> None:
    found = count_pieces([unicodedata.normalize("NFD", "été")], words)
    assert dict(found.counts) == {"été": 1}
