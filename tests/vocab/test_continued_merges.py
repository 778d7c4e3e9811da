"""Continued merging beside its slow twin: every token is the most frequent join of pieces as tiktoken encodes them."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

from qwen7b.vocab.continued_merges import ContinuedMerges, joins

BYTES = {bytes([byte]): byte for byte in range(256)}
WORDS = st.text("abc", min_size=1, max_size=9).map(str.encode)


def ranked(tokens: list[bytes]) -> dict[bytes, int]:
    return BYTES | {token: 256 + number for number, token in enumerate(tokens)}


def tiktoken_tokens(piece: bytes, ranks: dict[bytes, int]) -> list[bytes]:
    encoding = tiktoken.Encoding("test", pat_str=r"(?s:.+)", mergeable_ranks=ranks, special_tokens={})
    return [encoding.decode_single_token_bytes(id) for id in encoding.encode_ordinary(piece.decode())]


def learner(pieces: dict[bytes, int], ranks: dict[bytes, int], **settings: int) -> ContinuedMerges:
    return ContinuedMerges(pieces, ranks, encode=lambda piece: tiktoken_tokens(piece, ranks), **settings)


@given(
    tokens=st.lists(st.text("abc", min_size=2, max_size=5).map(str.encode), unique=True, max_size=6),
    pieces=st.dictionaries(WORDS, st.integers(1, 9), max_size=12),
)
def test_every_step_is_as_a_count_from_scratch_would_have_it(tokens: list[bytes], pieces: dict[bytes, int]) -> None:
    """The tokens at the start are any, also such as no two others make."""
    ranks, steps = ranked(tokens), 0
    merges = learner(pieces, ranks)
    for steps, learned in enumerate(islice(merges.learn(), 12), start=1):  # noqa: B007
        frequency: Counter[bytes] = Counter()
        for piece, count in pieces.items():
            for join in joins(tiktoken_tokens(piece, ranks)):
                frequency[join] += count
        best = min(frequency, key=lambda join: (-frequency[join], len(join), join))
        assert (learned.token, learned.frequency) == (best, frequency[best])
        ranks = ranks | {learned.token: len(ranks)}
    assert all(len(tiktoken_tokens(piece, ranks)) == 1 for piece in pieces) or steps == 12


def test_what_a_new_token_is_then_beside_may_be_a_token_too() -> None:
    """No two tokens make abcd at first; with abc there is a pair that does, and tiktoken merges it at once."""
    ranks = ranked([b"bc", b"abcd"])
    merges = learner({b"abcx": 9, b"abcdx": 5}, ranks)
    assert tiktoken_tokens(b"abcdx", ranks | {b"abc": len(ranks)}) == [b"abcd", b"x"]
    learned = [(each.token, each.frequency) for each in merges.learn()]
    assert learned == [(b"abc", 14), (b"abcx", 9), (b"abcdx", 5)]  # no dx, which abc, d and x would have made first


def test_rare_joins_and_refused_ones_are_left() -> None:
    pieces = {b"abab": 3, b"cd": 2}
    assert [learned.token for learned in learner(pieces, BYTES, min_frequency=3).learn()] == [b"ab", b"abab"]
    merges = ContinuedMerges(
        pieces,
        BYTES,
        encode=lambda piece: [bytes([byte]) for byte in piece],
        refusal=lambda token: "it is ab" if token == b"ab" else None,
    )
    assert [learned.token for learned in merges.learn()] == [b"ba", b"aba", b"abab", b"cd"]
    assert merges.refusals == {"it is ab": 1}


@pytest.mark.parametrize(("parts", "expected"), [("aaa", 1), ("aaaa", 2), ("abab", 3), ("", 0), ("a", 0)])
def test_joins_that_overlap_count_once(parts: str, expected: int) -> None:
    assert len([*joins([part.encode() for part in parts])]) == expected
