"""The engine's memory: a cache for each sequence, with room of its own, and those kept for what they hold."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterator, Sequence
from contextlib import suppress

import numpy as np

from qwen7b.errors import ResourceError
from qwen7b.generate.request import Request
from qwen7b.generate.saved_prefixes import SavedPrefixes, weights_state
from qwen7b.model import Transformer
from qwen7b.model.rotary import ntk_alpha
from qwen7b.model.sequence_cache import SequenceCache
from qwen7b.system.memory import available_bytes, gigabytes, release_freed

_ROOM = 256
"""Tokens that a cache has room for beside those it is about to hold, so that it seldom has to grow."""
_GROWTH = 1.5
_MEMORY_SHARE = 0.8
"""The share of the memory that caches may take, of what they hold already and what is free."""
MAX_KEPT = 16
"""Caches that are kept when nothing works on them, for what they hold."""
_MAX_KEPT_SHARE = 0.25
"""The share of the caches' memory that is kept so, unless a single one takes more."""
_RETAINED_BYTES = 1 << 28
"""Freed memory of so many bytes is given back to the system."""


class Slots:
    """Caches at work, and those kept for a request that begins as they do.

    They take at most `max_bytes` in all; where that is None, most of what memory there is as they need it.
    """

    def __init__(self, model: Transformer, *, max_bytes: int | None = None, saved: SavedPrefixes | None = None) -> None:
        self.model = model
        self.saved = saved
        self.max_bytes = max_bytes
        self.busy: list[SequenceCache] = []
        self.kept: list[SequenceCache] = []  # the longest unused first
        self._is_trimmed = True
        self._freed_bytes = 0
        """Bytes of caches that were dropped, which the C library may hold back from the system."""
        self._weights: Hashable = None

    def check_fit(self, request: Request) -> None:
        """Raise ResourceError for a request that could not run even by itself."""
        if self.model.cache_bytes(capacity=request.max_length) > self.limit():
            raise self.shortage(request.max_length)

    def shortage(self, length: int) -> ResourceError:
        """What to raise where there is no room for so many tokens."""
        return ResourceError(
            f"a cache of {length} tokens needs {gigabytes(self.model.cache_bytes(capacity=length))}, but "
            f"{gigabytes(self.limit())} are free for it: lower max_new_tokens or context_length"
        )

    def limit(self) -> int:
        """The bytes that caches may take in all, as others leave them memory now."""
        if self.max_bytes is not None:
            return self.max_bytes
        # Pages count as free until they are written to, as those for tokens to come are not.
        held = sum(cache.num_bytes * cache.length // cache.capacity for cache in (*self.busy, *self.kept))
        return int(_MEMORY_SHARE * (held + available_bytes(self.model.device)))

    def take(self, request: Request) -> SequenceCache | None:
        """A cache that holds as much of the request's beginning as any does; None where memory is short.

        A kept cache is taken as it is where the request goes on from most of it, else its beginning is copied.
        """
        self._forget_other_weights()
        source, length = self._find_prefix(request)
        capacity = min(len(request.ids) + _ROOM, max(request.max_length, len(request.ids)))
        needed = self.model.cache_bytes(capacity=capacity)
        if source in self.kept and (2 * length >= source.length or not self._make_room(needed, spare=source)):
            cache = source
            cache.truncate(length)
            self.kept.remove(cache)
            self.busy.append(cache)
            if cache.capacity < capacity and not self.grow(cache, capacity, limit=capacity):
                self.give_back(cache)
                return None
        elif self._make_room(needed, spare=source):
            try:
                cache = self.model.new_sequence_cache(capacity=capacity, ntk="original")
            except ResourceError:  # others have taken memory meanwhile
                return None
            self.busy.append(cache)
            if source is not None:
                cache.copy_prefix(source, length)
        else:
            return None
        cache.planned_length = request.planned_length
        return cache

    def restore(self, request: Request) -> Iterator[None]:
        """Go on with what is saved of a request's tokens, some at a time."""
        assert request.cache is not None
        if self.saved is not None:
            ids = request.ids[: request.needed_from]
            yield from self.saved.read_into(request.cache, ids, alpha=self.alpha(request))

    def save(self, request: Request, *, num_new: int) -> None:
        """Save for later starts what has been read of a request's prompt, of which so many tokens are new."""
        if self.saved is not None and request.cache is not None and request.on_hidden is None:
            self.saved.save(request.cache, request.ids[: request.num_prompt], num_new=num_new)

    def longest_prefix(self, request: Request) -> int:
        """How many tokens of a request need not be read, as a cache holds them."""
        return self._find_prefix(request)[1]

    def alpha(self, request: Request) -> float:
        """Dynamic NTK's alpha with which a request's tokens are read."""
        return self.alpha_of(request.planned_length)

    def alpha_of(self, length: int) -> float:
        """Dynamic NTK's alpha for sequences of so many tokens."""
        config = self.model.config
        return ntk_alpha(length, trained_length=config.trained_length) if config.dynamic_ntk else 1.0

    def room_for_draft(self, request: Request, num_read: int) -> int:
        """How many drafted tokens a step can put behind the `num_read` that it reads of a request.

        The cache takes them as it is, all of the request is read, and it can grow so long with the same alpha.
        """
        assert request.cache is not None
        length = len(request.ids)
        room = min(request.max_length - 1, request.cache.capacity) - length
        room = min(room, request.cache.max_new_tokens - num_read if num_read == request.num_unread else 0)
        if request.ntk == "recompute" and self.model.config.dynamic_ntk:
            trained = self.model.config.trained_length
            while room > 0 and ntk_alpha(length + room, trained_length=trained) != request.cache.alpha:
                room -= 1
        return room

    def grow(self, cache: SequenceCache, length: int, *, limit: int) -> bool:
        """Give a cache room for `length` tokens, and for some more up to `limit`; false where memory is short."""
        if length <= cache.capacity:
            return True
        capacity = max(length, min(limit, int(_GROWTH * length)))
        if not self._make_room(self.model.cache_bytes(capacity=capacity) - cache.num_bytes):
            return False
        with suppress(ResourceError):  # others have taken memory meanwhile
            cache.grow(capacity)
        return cache.capacity == capacity

    def give_back(self, cache: SequenceCache) -> None:
        """Keep what a cache holds for a request to come."""
        self.busy.remove(cache)
        self.kept.append(cache)
        self._is_trimmed = False

    def trim(self) -> None:
        """Free the caches, the longest unused first, that are more than should be kept; the last stays in any case."""
        if self._is_trimmed:
            return
        limit, num_bytes = _MAX_KEPT_SHARE * self.limit(), sum(cache.num_bytes for cache in self.kept)
        while len(self.kept) > MAX_KEPT or (num_bytes > limit and len(self.kept) > 1):
            num_bytes -= self.kept[0].num_bytes
            self._drop_kept(0)
        if self._freed_bytes > _RETAINED_BYTES:
            self._release_freed()
        self._is_trimmed = True

    def drop(self, cache: SequenceCache) -> None:
        """Free the memory of a cache at work."""
        self.busy.remove(cache)
        self._freed_bytes += cache.num_bytes

    def _find_prefix(self, request: Request) -> tuple[SequenceCache | None, int]:
        """The cache that begins as a request does for longest, and for how many tokens."""
        best, length, alpha = None, 0, self.alpha(request)
        ids = np.asarray(request.ids[: request.needed_from])
        for cache in (*self.kept, *self.busy):
            if cache.alpha != alpha:
                continue
            common = count_common(ids, cache.ids[: cache.length].numpy())
            if common > length and cache.reaches_back(common):
                best, length = cache, common
        return best, length

    def _make_room(self, num_bytes: int, *, spare: SequenceCache | None = None) -> bool:
        """Drop kept caches, the longest unused first, until so many bytes are free."""
        while self._free_bytes() < num_bytes:
            if self._freed_bytes:  # it may not count as free yet
                self._release_freed()
            elif (index := next((index for index, cache in enumerate(self.kept) if cache is not spare), None)) is None:
                return False
            else:
                self._drop_kept(index)
        return True

    def _free_bytes(self) -> int:
        free = self.limit() - sum(cache.num_bytes for cache in (*self.busy, *self.kept))
        return min(free, available_bytes(self.model.device))

    def _drop_kept(self, index: int) -> None:
        self._freed_bytes += self.kept[index].num_bytes
        del self.kept[index]

    def _release_freed(self) -> None:
        self._freed_bytes = 0
        release_freed(self.model.device)

    def _forget_other_weights(self) -> None:
        """Drop kept caches where a weight was replaced or changed since: they hold what the old one made."""
        state = weights_state(self.model)
        weights = self.model.config, self.model.cache_dtype, state
        if weights != self._weights:
            self._weights = weights
            self.kept.clear()
        if self.saved is not None and self.saved.weights_state != state:
            self.saved = None
            warnings.warn(
                "prompt_cache is not used any more, as a weight of the model was changed or moved", stacklevel=2
            )


def count_common(ids: Sequence[int] | np.ndarray, other_ids: Sequence[int] | np.ndarray) -> int:
    """How many ids two sequences begin with alike.

    >>> count_common([1, 2, 3], [1, 2, 4, 5])
    2
    """
    length = min(len(ids), len(other_ids))
    differ = np.asarray(ids[:length]) != np.asarray(other_ids[:length])
    return int(differ.argmax()) if differ.any() else length
