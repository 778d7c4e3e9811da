"""The slow and readable merging agrees with tiktoken, whatever the tokens."""

from __future__ import annotations

import tiktoken
from hypothesis import given
from hypothesis import strategies as st

from qwen7b.text.merging import merge_parts, split_bytes

TOKENS = st.lists(st.text("abc", min_size=2, max_size=5).map(str.encode), unique=True, max_size=12)


@given(tokens=TOKENS, text=st.text("abc", min_size=1, max_size=20))
def test_it_agrees_with_tiktoken(tokens: list[bytes], text: str) -> None:
    ranks = {bytes([byte]): byte for byte in range(256)} | {token: 256 + n for n, token in enumerate(tokens)}
    encoding = tiktoken.Encoding("test", pat_str=r"(?s:.+)", mergeable_ranks=ranks, special_tokens={})
    expected = [encoding.decode_single_token_bytes(id) for id in encoding.encode_ordinary(text)]
    merged = merge_parts(split_bytes(text.encode()), ranks)
    assert merged == expected or (text.encode() in ranks and expected == [text.encode()])


def test_a_limit_leaves_out_what_ranks_higher() -> None:
    ranks = {b"ab": 1, b"abc": 2}
    assert merge_parts(split_bytes(b"abc"), ranks) == [b"abc"]
    assert merge_parts(split_bytes(b"abc"), ranks, below=2) == [b"ab", b"c"]
    assert merge_parts([], ranks) == []
