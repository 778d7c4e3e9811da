"""Drafts without a model: what came after the same tokens earlier in the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from qwen7b.generate.request import Request

_SHORTEST = 2
"""Tokens that have to be the same for what followed them to be worth a guess."""
_LONGEST = 32
"""Tokens that are compared at most: longer matches are as good as this one."""
_MAX_PLACES = 64
"""The latest places that are compared."""
_MAX_POOL = 1 << 18
"""Tokens after which the older half of a pool is forgotten."""

_Places = dict[tuple[int, ...], list[tuple[list[int], int]]]


@dataclass(frozen=True, slots=True)
class Match:
    """The end of an n-gram in a text: `length` tokens before `end` are those in question."""

    text: list[int]
    end: int
    length: int


class NgramIndex:
    """Where each n-gram of some texts ends, so that an earlier place is found without looking through them.

    A text's tokens may be added to, but never change.
    """

    def __init__(self, *, max_size: int | None = None) -> None:
        self.max_size = max_size
        self.size = 0
        self._places: _Places = {}
        self._older: _Places = {}

    def add(self, ids: list[int], start: int) -> None:
        """Take in a text from position `start` on. Its last token is left out, since nothing has followed it yet."""
        for end in range(max(start, _SHORTEST), len(ids)):
            self._places.setdefault(tuple(ids[end - _SHORTEST : end]), []).append((ids, end))
            self.size += 1
        if self.max_size is not None and self.size > self.max_size // 2:
            self._older, self._places, self.size = self._places, {}, 0

    def find(self, ids: Sequence[int]) -> Match | None:
        """Where the longest n-gram that ends `ids` was before, at the latest place of several."""
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
    """What is known of a request's text."""

    index: NgramIndex = field(default_factory=NgramIndex)
    num_known: int = 0
    found: Match | None = None


class NgramDrafter:
    """Prompt lookup decoding: a draft is what followed the longest n-gram that ends the text where it was before.

    It looks in a request's own text, or with `pool` in those of earlier and present requests too.
    https://github.com/apoorvumang/prompt-lookup-decoding
    """

    def __init__(self, *, pool: bool = False) -> None:
        self._pool = NgramIndex(max_size=_MAX_POOL) if pool else None
        self._lookups: dict[Request, _Lookup] = {}

    def offer(self, request: Request, *, max_length: int) -> int:
        """Look for a draft, and say how long one can be."""
        lookup = self._lookups.setdefault(request, _Lookup())
        indices = [lookup.index] if self._pool is None else [lookup.index, self._pool]
        matches = []
        for index in indices:
            index.add(request.ids, lookup.num_known)
            if (match := index.find(request.ids)) is not None:
                matches.append(match)
        lookup.num_known = len(request.ids)
        lookup.found = max(matches, key=lambda match: match.length, default=None)  # its own where both are as long
        return 0 if lookup.found is None else max_length

    def draft(self, lengths: Mapping[Request, int]) -> dict[Request, list[int]]:
        """So many ids for each request."""
        drafts = {}
        for request, length in lengths.items():
            match = self._lookups[request].found
            assert match is not None
            drafts[request] = _continue(match.text, match.end, length)
        return drafts

    def forget(self, request: Request) -> None:
        self._lookups.pop(request, None)


def _continue(text: list[int], end: int, length: int) -> list[int]:
    """What follows a place; past the end of its text, it goes round."""
    draft = text[end : end + length]
    while len(draft) < length:
        draft.append(draft[len(draft) + end - len(text)])
    return draft


def _count_common_end(text: Sequence[int], end: int, ids: Sequence[int]) -> int:
    """How many tokens before `end` are those that end `ids`; `_SHORTEST` are known to be."""
    length, longest = _SHORTEST, min(_LONGEST, end, len(ids))
    while length < longest and text[end - 1 - length] == ids[-1 - length]:
        length += 1
    return length
