"""Long pieces give the tokens that merging as one would explain it gives, and the work grows with their length."""

from __future__ import annotations

import random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from qwen7b.text import Tokenizer, long_pieces
from qwen7b.text.long_pieces import encode_long
from text import naive_bpe

# Few letters, so that many random merges meet.
pieces = st.text("abc", min_size=1, max_size=120) | st.builds(
    lambda unit, count: unit * count, st.text("abc", min_size=1, max_size=5), st.integers(1, 40)
)


@st.composite
def merges(draw: st.DrawFn) -> dict[bytes, int]:
    """Random merges of tokens made so far, in random order; some tokens are never reached."""
    tokens = [b"a", b"b", b"c"]
    for _ in range(draw(st.integers(0, 25))):
        token = draw(st.sampled_from(tokens)) + draw(st.sampled_from(tokens))
        if token not in tokens and len(token) < 20:
            tokens.append(token)
    ranks = draw(st.permutations(range(3, len(tokens))))
    return dict(zip(tokens, [0, 1, 2, *ranks], strict=True))


@given(ranks=merges(), text=pieces, chunk=st.integers(1, 20))
@settings(max_examples=300)
def test_any_merges_any_piece(ranks: dict[bytes, int], text: str, chunk: int) -> None:
    token_of = {rank: token for token, rank in ranks.items()}

    def encode(piece: bytes) -> list[int]:
        if piece in ranks:  # as tiktoken does, even where no merges lead there
            return [ranks[piece]]
        return [ranks[token] for token in naive_bpe.encode(piece.decode(), pattern=".*", ranks=ranks) if token]

    assume(text.encode() not in ranks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long_pieces, "CHUNK", chunk)
        assert encode_long(text.encode(), encode, token_of.__getitem__) == encode(text.encode())


_LETTERS = random.Random(0)
LONG = {
    "one letter": "a" * 30_011,
    "random letters": "".join(_LETTERS.choices("abcdefghijklmnopqrstuvwxyz", k=30_011)),
    "digits": "7" * 30_011,
    "punctuation": "".join(_LETTERS.choices("!?.,;:-_#", k=30_011)),
    "hanzi": "".join(_LETTERS.choices("的一是不了人我在有他这为之大来以个中上们", k=30_011)),
    "emoji": "👩\u200d👩\u200d👧😀" * 5_001,
    "spaces": " " * 30_011,
    "newlines": "\r\n" * 15_011,
    "all white space": "".join(_LETTERS.choices(" \t\n\r\u3000", k=30_011)),
    "base64": "QWxhZGRpbjpvcGVuIHNlc2FtZQ" * 1_201,
    "marks": "a" + "\u0301\u0316" * 15_001,
    "zeros": "\0" * 30_011,
}


@pytest.mark.parametrize("kind", LONG)
def test_tiktoken_agrees(ours: Tokenizer, kind: str) -> None:
    text = LONG[kind]
    assert ours._encoding.encode_ordinary(text) == ours._encode_by_piece(text) or ours.vocabulary.bytes_without_id


@pytest.mark.parametrize("kind", LONG)
def test_tiktoken_agrees_on_the_original(qwen: Tokenizer, kind: str) -> None:
    assert qwen._encoding.encode_ordinary(LONG[kind]) == qwen._encode_by_piece(LONG[kind])


@pytest.mark.parametrize("kind", LONG)
def test_the_work_grows_with_the_length(ours: Tokenizer, kind: str) -> None:
    piece, handed_over = LONG[kind].encode(), 0

    def encode(part: bytes) -> list[int]:
        nonlocal handed_over
        handed_over += len(part)
        return ours._encoding._encode_single_piece(part)

    encode_long(piece, encode, ours._encoding.decode_single_token_bytes)
    assert handed_over < 8 * len(piece)
