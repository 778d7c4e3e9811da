"""Byte pairs merged in a piece of any length, such as megabytes of one word, in time that grows no faster than it."""

from __future__ import annotations

from collections.abc import Callable

CHUNK = 480
"""Bytes below which tiktoken merges fastest."""
_OVERLAP = 2


def encode_long(piece: bytes, encode: Callable[[bytes], list[int]], token_bytes: Callable[[int], bytes]) -> list[int]:
    """The same as `encode(piece)`, for a piece that is no token, from calls with short stretches of it.

    Tokens are what merging makes of a text if any two neighbours are what it makes of those two alone: the first merge
    across a border between tokens would also be made where there are only the two beside it. So each chunk is encoded
    together with the last tokens before it, and with more of them until the border to those that stay holds.
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
