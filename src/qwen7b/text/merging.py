"""Byte-pair merging in the slow and readable way: whatever two neighbours join to a token merge, lowest rank first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence


def merge_parts(parts: Sequence[bytes], ranks: Mapping[bytes, int], *, below: float = math.inf) -> list[bytes]:
    """Merge neighbours until no two of them join to a token of a rank below the limit.

    Of joins of one rank the leftmost comes first. As in tiktoken, a token is known by its bytes alone: it does not
    matter from which two parts they come.

    >>> merge_parts([b"t", b"h", b"e"], {b"he": 0, b"th": 1, b"the": 2})
    [b'the']
    """
    merged = list(parts)
    while len(merged) > 1:
        rank, place = min((ranks.get(merged[i] + merged[i + 1], below), i) for i in range(len(merged) - 1))
        if rank >= below:
            break
        merged[place : place + 2] = [merged[place] + merged[place + 1]]
    return merged


def split_bytes(token: bytes) -> list[bytes]:
    """The bytes of a token, each by itself, from which merging starts.

    >>> split_bytes(b"the")
    [b't', b'h', b'e']
    """
    return [token[place : place + 1] for place in range(len(token))]
