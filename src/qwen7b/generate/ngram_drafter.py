"""Drafts without a model: the tokens that followed the same n-gram earlier in the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from qwen7b.generate.request import Request

_SHORTEST = 2
"""The shortest n-gram whose continuation is worth drafting."""
_LONGEST = 32
"""The longest n-gram that is compared: longer matches predict no better."""
_MAX_PLACES = 64
"""How many of the latest occurrences are compared."""
_MAX_POOL = 1 << 18
"""The most tokens in a pool; beyond it the older half is forgotten."""

_Places = dict[tuple[int, ...], list[tuple[list[int], int]]]


@dataclass(frozen=True, slots=True)
class Match:
    """An n-gram found in a text: the `length` tokens before position `end`."""

    text: list[int]
    end: int
    length: int


class NgramIndex:
    """Maps each n-gram of some texts to where it ends, so that it is found without a search.

    A text may grow, but its tokens never change.
    """

    def __init__(self, *, max_size: int | None = None) -> None:
        self.max_size = max_size
        self.size = 0
        self._places: _Places = {}
        self._older: _Places = {}

    def add(self, ids: list[int], start: int) -> None:
        """Index a text from position `start` on, but for its last n-gram, which nothing follows yet."""
        for end in range(max(start, _SHORTEST), len(ids)):
            self._places.setdefault(tuple(ids[end - _SHORTEST : end]), []).append((ids, end))
            self.size += 1
        if self.max_size is not None and self.size > self.max_size // 2:
            self._older, self._places, self.size = self._places, {}, 0

    def find(self, ids: Sequence[int]) -> Match | None:
        """Find the longest n-gram that ends `ids` and came before, at its latest occurrence."""
        key = tuple(ids[-_SHORTEST:])
        places = self._older.get(key, [])[-_MAX_PLACES:] + self._places.get(key, [])[-_MAX_PLACES:]
        best: Match | None = None
        for text, end in reversed(places):
            length = _count_common_end(text, end, ids)
            if best is None or length > best.length:
                best = Match(text, end, length)
            if length == _LONGEST:
                break
        return best


@dataclass(slots=True)
class _Lookup:
    """The index of a request's text, and the last match in it."""

    index: NgramIndex = field(default_factory=NgramIndex)
    num_known: int = 0
    found: Match | None = None


class NgramDrafter:
    """Prompt lookup decoding: drafts what followed the longest n-gram that ends the text, where it occurred before.

    It searches a request's own text, and with `pool` those of earlier and present requests too.
    https://github.com/apoorvumang/prompt-lookup-decoding
    """

    def __init__(self, *, pool: bool = False) -> None:
        self._pool = NgramIndex(max_size=_MAX_POOL) if pool else None
        self._lookups: dict[Request, _Lookup] = {}

    def offer(self, request: Request, *, max_length: int) -> int:
        """Find a match, and return how long a draft can be."""
        lookup = self._lookups.setdefault(request, _Lookup())
        indices = [lookup.index] if self._pool is None else [lookup.index, self._pool]
        matches = []
        for index in indices:
            index.add(request.ids, lookup.num_known)
            if (match := index.find(request.ids)) is not None:
                matches.append(match)
        lookup.num_known = len(request.ids)
        lookup.found = max(matches, key=lambda match: match.length, default=None)  # on a tie the request's own
        return 0 if lookup.found is None else max_length

    def draft(self, lengths: Mapping[Request, int]) -> dict[Request, list[int]]:
        """Draft so many ids for each request."""
        drafts = {}
        for request, length in lengths.items():
            match = self._lookups[request].found
            assert match is not None
            drafts[request] = _continue(match.text, match.end, length)
        return drafts

    def forget(self, request: Request) -> None:
        self._lookups.pop(request, None)


def _continue(text: list[int], end: int, length: int) -> list[int]:
    """Copy what follows a place; past the end of the text the draft repeats itself."""
    draft = text[end : end + length]
    while len(draft) < length:
        draft.append(draft[len(draft) + end - len(text)])
    return draft


def _count_common_end(text: Sequence[int], end: int, ids: Sequence[int]) -> int:
    """Count the tokens before `end` that equal the last ones of `ids`; the first `_SHORTEST` are known to."""
    length, longest = _SHORTEST, min(_LONGEST, end, len(ids))
    while length < longest and text[end - 1 - length] == ids[-1 - length]:
        length += 1
    return length
