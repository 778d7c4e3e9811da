"""Byte-pair merging for a piece of any length, such as megabytes of one word, in linear time."""

from __future__ import annotations

from collections.abc import Callable

CHUNK = 480
"""Bytes below which tiktoken merges fastest."""
_OVERLAP = 2


def encode_long(piece: bytes, encode: Callable[[bytes], list[int]], token_bytes: Callable[[int], bytes]) -> list[int]:
    """Compute `encode(piece)`, for a piece that is not itself a token, by encoding short chunks of it.

    A token sequence is the right encoding of a text if every two neighbours are the right encoding of their joined
    bytes: the first merge across a border between tokens would also happen if only those two were there. So each
    chunk is encoded together with the last tokens before it, and with more of them until the border to the earlier
    tokens passes that test.
    """
    tokens: list[int] = []
    for start in range(0, len(piece), CHUNK):
        chunk, taken_back = piece[start : start + CHUNK], _OVERLAP
        while True:
            added = encode(b"".join(map(token_bytes, tokens[-taken_back:])) + chunk)
            if taken_back >= len(tokens):
                break
            pair = [tokens[-taken_back - 1], added[0]]
            if encode(b"".join(map(token_bytes, pair))) == pair:
                break
            taken_back *= 2
        tokens[-taken_back:] = added
    return tokens
