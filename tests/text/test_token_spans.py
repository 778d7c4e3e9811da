"""The tokens of a span of characters are those that a slow look at every byte finds."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen7b.text import Tokenizer, load_tokenizer
from qwen7b.text.token_spans import Span
from text import synthetic


def holders(tokenizer: Tokenizer, text: str, ids: list[int], span: Span) -> list[int]:
    """The places of tokens with a byte of the span's characters, of a text that is normalized already."""
    left_out = set(tokenizer.vocabulary.bytes_without_id)
    owners = [place for place, char in enumerate(text) for byte in char.encode() if byte not in left_out]
    holding, at = [], 0
    for place, id in enumerate(ids):
        size = len(tokenizer.token_bytes(id))
        if any(span[0] <= owner < span[1] for owner in owners[at : at + size]):
            holding.append(place)
        at += size
    assert at == len(owners)
    return holding


@given(text=synthetic.texts, data=st.data())
@settings(deadline=None, max_examples=200)
def test_spans_hold_their_characters(ours: Tokenizer, text: str, data: st.DataObject) -> None:
    text = ours._normalize(text)
    if not ours._ranks_without_id.isdisjoint(ours._encoding.encode_ordinary(text)):
        text = "".join(char for char in text if not {*char.encode()} & {*ours.vocabulary.bytes_without_id})
    elif ours.vocabulary.bytes_without_id:
        text = "".join(char for char in text if char.isascii() and char.isprintable())
    place = st.integers(0, len(text))
    spans = [(min(pair), max(pair)) for pair in data.draw(st.lists(st.tuples(place, place), max_size=4))]
    ids = ours.encode(text)
    for span, tokens in zip(spans, ours.token_spans(text, ids, spans), strict=True):
        assert [*range(tokens.start, tokens.stop)] == holders(ours, text, ids, span)


@pytest.mark.parametrize(
    ("text", "span", "held"),
    [
        ("a e\u0301", (3, 4), "\u00e9"),  # an accent that became part of the letter before it
        ("a e\u0301", (0, 3), "a \u00e9"),
        ("\u1100\u1161\u11a8 x", (1, 2), "\uac01"),
        ("x\ud83d\ude42y", (1, 3), "\U0001f642"),  # two halves of one character
        ("x\ud800y", (1, 2), "\ufffd"),
        ("世界", (1, 2), "界"),
    ],
)
def test_what_normalization_joins_belongs_to_both_sides(chatty: Tokenizer, text: str, span: Span, held: str) -> None:
    ids = chatty.encode(text)
    (tokens,) = chatty.token_spans(text, ids, [span])
    assert held.encode() in chatty.decode_bytes(ids[tokens])
    shorter = slice(tokens.start + 1, tokens.stop), slice(tokens.start, tokens.stop - 1)
    assert all(held.encode() not in chatty.decode_bytes(ids[part]) for part in shorter)


def test_bytes_without_an_id_are_no_part_of_any_token(tmp_path: Path) -> None:
    synthetic.train("smollm").save(str(tmp_path / "tokenizer.json"))
    tokenizer = load_tokenizer(tmp_path)
    lacking = next(char for char in "\u0416\u05d0\u0e01\u3042" if not tokenizer.encode(char))
    text = f"ra{lacking}te{lacking}ed"
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == "rateed"
    (middle, nothing) = tokenizer.token_spans(text, ids, [(3, 5), (2, 3)])
    assert "te" in tokenizer.decode(ids[middle]) and tokenizer.decode(ids[nothing]) == ""
