"""A stream says what the whole text says, and never a replacement character that is not in it."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen7b.errors import SettingError
from qwen7b.text import Detokenizer, Tokenizer
from text import synthetic


def pieces_of(tokenizer: Tokenizer, ids: list[int], *, skip_control: bool) -> list[str]:
    detokenizer = Detokenizer(tokenizer, skip_control=skip_control)
    return [*map(detokenizer.push, ids), detokenizer.flush()]


@given(data=st.data(), skip_control=st.booleans())
@settings(deadline=None, max_examples=300)
def test_pieces_join_to_the_whole(chatty: Tokenizer, data: st.DataObject, skip_control: bool) -> None:
    # Random ids are mostly broken UTF-8; encoded text among them makes whole characters.
    ids_of_text = synthetic.texts.map(chatty.encode)
    random_ids = st.lists(st.integers(0, chatty.vocab_size - 1), max_size=20)
    ids = list(itertools.chain.from_iterable(data.draw(st.lists(ids_of_text | random_ids, max_size=4))))
    pieces = pieces_of(chatty, ids, skip_control=skip_control)
    assert "".join(pieces) == chatty.decode(ids, skip_control=skip_control)


@given(text=synthetic.texts)
@settings(deadline=None)
def test_byte_by_byte(chatty: Tokenizer, text: str) -> None:
    ids = [chatty.vocabulary.ids[bytes([byte])] for byte in text.encode()]
    pieces = pieces_of(chatty, ids, skip_control=True)
    assert "".join(pieces) == text
    assert [piece for piece in pieces if piece] == list(text)


def test_a_control_token_does_not_break_a_character(chatty: Tokenizer) -> None:
    first, *rest = (chatty.vocabulary.ids[bytes([byte])] for byte in "你".encode())
    assert chatty.im_end_id is not None
    ids = [first, chatty.im_end_id, *rest]
    assert "".join(pieces_of(chatty, ids, skip_control=True)) == "你" == chatty.decode(ids, skip_control=True)
    assert "".join(pieces_of(chatty, ids, skip_control=False)) == chatty.decode(ids)


def test_it_can_be_used_again_after_a_flush(chatty: Tokenizer) -> None:
    detokenizer = Detokenizer(chatty)
    half = chatty.vocabulary.ids["你".encode()[:1]]
    for _ in range(2):
        assert detokenizer.push(half) == ""
        assert detokenizer.flush() == "\ufffd"
    assert detokenizer.push(chatty.encode("a")[0]) == "a"


def test_unknown_ids_are_named(chatty: Tokenizer) -> None:
    with pytest.raises(SettingError, match=str(chatty.vocab_size)):
        Detokenizer(chatty).push(chatty.vocab_size)
