"""The memory of the engine's caches: those at work, those kept for what they hold, and the room beside them."""

from __future__ import annotations

from qwen7b.errors import ResourceError
from qwen7b.generate.request import Request
from qwen7b.model import Transformer
from qwen7b.model.sequence_cache import SequenceCache
from qwen7b.system.memory import available_bytes, gigabytes, release_freed

_MEMORY_SHARE = 0.8
"""The share of the memory that caches may take, of what they hold already and what is free."""
MAX_KEPT = 16
"""Caches that are kept when nothing works on them, for what they hold."""
_MAX_KEPT_SHARE = 0.25
"""The share of the caches' memory that is kept so, unless a single one takes more."""
_RETAINED_BYTES = 1 << 28
"""Freed memory of so many bytes is given back to the system."""


class CacheMemory:
    """Caches at work, and those that are kept: at most `max_bytes` in all, or most of the memory there is."""

    def __init__(self, model: Transformer, *, max_bytes: int | None) -> None:
        self.model = model
        self.max_bytes = max_bytes
        self.busy: list[SequenceCache] = []
        self.kept: list[SequenceCache] = []  # the longest unused first
        self._is_trimmed = True
        self._freed_bytes = 0
        """Bytes of caches that were dropped, which the C library may hold back from the system."""

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

    def limit(self, *, available: int | None = None) -> int:
        """The bytes that caches may take in all, as others leave them memory now: `available`, where that is known."""
        if self.max_bytes is not None:
            return self.max_bytes
        if available is None:
            available = available_bytes(self.model.device)
        # Pages count as free until they are written to, as those for tokens to come are not.
        held = sum(cache.num_bytes * cache.length // cache.capacity for cache in (*self.busy, *self.kept))
        return int(_MEMORY_SHARE * (held + available))

    def make_room(self, num_bytes: int, *, spare: SequenceCache | None = None) -> bool:
        """Drop kept caches, the longest unused first, until so many bytes are free."""
        while self._free_bytes() < num_bytes:
            if self._freed_bytes:  # it may not count as free yet
                self._release_freed()
            elif (index := next((index for index, cache in enumerate(self.kept) if cache is not spare), None)) is None:
                return False
            else:
                self._drop_kept(index)
        return True

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

    def _free_bytes(self) -> int:
        available = available_bytes(self.model.device)  # asking the system takes longer than all else here
        free = self.limit(available=available) - sum(cache.num_bytes for cache in (*self.busy, *self.kept))
        return min(free, available)

    def _drop_kept(self, index: int) -> None:
        self._freed_bytes += self.kept[index].num_bytes
        del self.kept[index]

    def _release_freed(self) -> None:
        self._freed_bytes = 0
        release_freed(self.model.device)
