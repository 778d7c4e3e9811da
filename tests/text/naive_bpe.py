"""Byte-pair encoding as one would explain it, to check the fast one against."""

from __future__ import annotations

import itertools

import regex


def encode(text: str, *, pattern: str, ranks: dict[bytes, int]) -> list[bytes]:
    """Cut the text, then in each piece merge the pair of lowest rank until there is none."""
    tokens = []
    for piece in regex.findall(pattern, text):
        parts = [bytes([byte]) for byte in piece.encode()]
        while True:
            pairs = [left + right for left, right in itertools.pairwise(parts)]
            best = min((pair for pair in pairs if pair in ranks), key=ranks.__getitem__, default=None)
            if best is None:
                break
            place = pairs.index(best)
            parts[place : place + 2] = [best]
        tokens += parts
    return tokens
