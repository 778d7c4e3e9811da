"""Finds the tokens that hold given characters of a text, even where normalization and merges cross their borders."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, pairwise
from typing import TypeAlias

Span: TypeAlias = tuple[int, int]
"""The first character, and the one after the last."""


def token_spans(
    text: str,
    spans: Sequence[Span],
    *,
    tokens: Iterable[bytes],
    normalize: Callable[[str], str],
    without: bytes = b"",
) -> list[slice]:
    """Find, for each span of a text, the tokens that hold any of its characters; an empty span has none.

    `tokens` are those of the whole text, as bytes, made of what `normalize` makes of it, less the bytes in `without`.
    """
    whole = normalize(text)
    cuts = sorted({cut for span in spans for cut in span})
    parts = [normalize(text[start:end]) for start, end in pairwise([0, *cuts, len(text)])]
    if "".join(parts) == whole:
        places = {cut: (place, place) for cut, place in zip(cuts, accumulate(map(len, parts)), strict=False)}
    else:  # characters on both sides of a cut became one, which belongs to both
        places = {cut: _places_around(text, cut, whole, normalize) for cut in cuts}
    borders = sorted({0, *(place for pair in places.values() for place in pair)})
    sizes = [len(whole[start:end].encode().translate(None, without)) for start, end in pairwise(borders)]
    byte_of = dict(zip(borders, accumulate(sizes, initial=0), strict=True))
    ends = [*accumulate(map(len, tokens))]
    slices = []
    for start, end in spans:
        first_byte, end_byte = byte_of[places[start][0]], byte_of[places[end][1]]
        first = bisect_right(ends, first_byte)
        slices.append(slice(first, bisect_left(ends, end_byte) + 1 if end_byte > first_byte else first))
    return slices


def _places_around(text: str, cut: int, whole: str, normalize: Callable[[str], str]) -> Span:
    """The places in the normalized text where what is after a cut begins, and where what is before it ends."""
    before, after = normalize(text[:cut]), normalize(text[cut:])
    return _same_length(whole, before), len(whole) - _same_length(whole[::-1], after[::-1])


def _same_length(text: str, other: str) -> int:
    """Count the characters that two texts begin with alike."""
    return next(
        (place for place, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), min(len(text), len(other))
    )
