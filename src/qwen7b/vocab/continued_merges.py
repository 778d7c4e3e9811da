"""Byte-pair encoding continued where a vocabulary ends: the most frequent join of two tokens becomes a token, again
and again.

Counted is what tiktoken would merge. It knows a token by its bytes, so all places where two neighbours join to the same
bytes count together, whatever the two are, and once a token is there, all of these merge; what they are then beside may
join to a token too, which merges at once, lowest rank first. A piece that is a token as a whole is never split.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from qwen7b.text.merging import merge_parts


@dataclass(frozen=True, slots=True)
class LearnedToken:
    """A token that was added."""

    token: bytes
    frequency: int
    """How often its two parts stood side by side in the corpus when it was added."""


class ContinuedMerges:
    """The pieces of a corpus, encoded by a vocabulary that grows.

    For each join of two neighbours it keeps how often it occurs and in which pieces. A new token changes these pieces
    only, so that a token takes time for the pieces that hold it, not for the corpus.
    """

    def __init__(
        self,
        pieces: Mapping[bytes, int],
        ranks: Mapping[bytes, int],
        *,
        encode: Callable[[bytes], Sequence[bytes]],
        refusal: Callable[[bytes], str | None] = lambda token: None,
        min_frequency: int = 1,
    ) -> None:
        """`pieces` come with their frequency, `encode` gives a piece's tokens by the vocabulary as it is.

        `refusal` says why a token may not be added, or None where it may.
        """
        self._ranks = dict(ranks)
        self._next_rank = max(ranks.values()) + 1
        self._refusal = refusal
        self._min_frequency = min_frequency
        self._encoded: list[list[bytes]] = []
        self._counts: list[int] = []
        self._place_of: dict[bytes, int] = {}
        self._frequency: defaultdict[bytes, int] = defaultdict(int)
        self._places: defaultdict[bytes, list[int]] = defaultdict(list)
        self._refused: set[bytes] = set()
        self.refusals: Counter[str] = Counter()
        """How many tokens were not added though frequent enough, by reason."""
        for piece, count in pieces.items():
            if len(parts := list(encode(piece))) > 1:  # else nothing is left to merge
                self._place_of[piece] = len(self._encoded)
                self._encoded.append(parts)
                self._counts.append(count)
        for place, (parts, count) in enumerate(zip(self._encoded, self._counts, strict=True)):
            self._count(parts, count, place, ())
        self._queue = [(-count, len(join), join) for join, count in self._frequency.items() if count >= min_frequency]
        heapq.heapify(self._queue)

    def learn(self) -> Iterator[LearnedToken]:
        """Add tokens, the most frequent first, as long as one is frequent enough; of equals the shortest first."""
        while self._queue:
            negative, length, token = self._queue[0]
            frequency = self._frequency.get(token, 0)
            if frequency < self._min_frequency or token in self._refused:
                heapq.heappop(self._queue)
            elif frequency != -negative:
                heapq.heapreplace(self._queue, (-frequency, length, token))
            elif reason := self._refusal(token):
                self._refused.add(token)
                self.refusals[reason] += 1
            else:
                self._add(token)
                yield LearnedToken(token, frequency)

    def _add(self, token: bytes) -> None:
        self._ranks[token] = self._next_rank
        self._next_rank += 1
        places = set(self._places.pop(token))
        whole = self._place_of.get(token)
        if whole is not None:
            places.add(whole)
        raised: set[bytes] = set()
        for place in sorted(places):
            parts, count = self._encoded[place], self._counts[place]
            merged = [token] if place == whole else merge_parts(parts, self._ranks)
            if len(merged) == len(parts):  # an earlier token has taken the join away
                continue
            before = set(joins(parts))
            for join in joins(parts):
                self._frequency[join] -= count
            self._encoded[place] = merged
            self._count(merged, count, place, before)
            raised.update(joins(merged))
            for join in before:
                if not self._frequency[join]:
                    del self._frequency[join]
                    self._places.pop(join, None)
        for join in raised - self._refused:
            if (frequency := self._frequency[join]) >= self._min_frequency:
                heapq.heappush(self._queue, (-frequency, len(join), join))

    def _count(self, parts: Sequence[bytes], count: int, place: int, known: set[bytes] | tuple[()]) -> None:
        """Count the joins of a piece, and note the piece as their place unless it is known to be one."""
        for join in joins(parts):
            self._frequency[join] += count
            if join not in known:
                self._places[join].append(place)


def joins(parts: Sequence[bytes]) -> Iterator[bytes]:
    """What each two neighbours join to; of joins of the same bytes that overlap, one, as only one of them can merge.

    >>> list(joins([b"a", b"a", b"a", b"b"]))
    [b'aa', b'ab']
    """
    last = None
    for left, right in pairwise(parts):
        join = left + right
        if join == last:
            last = None
        else:
            last = join
            yield join
