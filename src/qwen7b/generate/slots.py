"""The engine's slots: a cache for each sequence, with room of its own, that goes on from what is known of it."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterator
from contextlib import suppress

from qwen7b.errors import ResourceError
from qwen7b.generate.cache_memory import CacheMemory
from qwen7b.generate.named_adapters import NamedAdapters
from qwen7b.generate.prefixes import find_prefix
from qwen7b.generate.request import Request
from qwen7b.generate.saved_prefixes import SavedPrefixes, weights_state
from qwen7b.model import Transformer
from qwen7b.model.adapter_weights import AdapterWeights
from qwen7b.model.rotary import ntk_alpha
from qwen7b.model.sequence_cache import SequenceCache

_ROOM = 256
"""Tokens that a cache has room for beside those it is about to hold, so that it seldom has to grow."""
_GROWTH = 1.5


class Slots(CacheMemory):
    """Gives requests their caches, which hold as much of their tokens as is known already."""

    def __init__(
        self,
        model: Transformer,
        *,
        max_bytes: int | None = None,
        saved: SavedPrefixes | None = None,
        adapters: NamedAdapters | None = None,
    ) -> None:
        """Without `adapters` all requests are read without theirs, as by a draft model."""
        super().__init__(model, max_bytes=max_bytes)
        self.saved = saved
        self.adapters = adapters
        self._num_removed = 0
        self._weights: Hashable = None
        self._outdated: set[SequenceCache] = set()
        """Caches at work that other weights began to fill: nobody else goes on from them."""

    def take(self, request: Request) -> SequenceCache | None:
        """A cache that holds as much of the request's beginning as any does; None where memory is short.

        A kept cache is taken as it is where the request goes on from most of it, else its beginning is copied.
        """
        self._forget_other_weights()
        self.forget_adapters()
        source, length = self._find_prefix(request)
        capacity = min(len(request.ids) + _ROOM, max(request.max_length, len(request.ids)))
        needed = self.model.cache_bytes(capacity=capacity)
        if source in self.kept and (2 * length >= source.length or not self.make_room(needed, spare=source)):
            cache = source
            cache.truncate(length)
            self.kept.remove(cache)
            self.busy.append(cache)
            if cache.capacity < capacity and not self.grow(cache, capacity, limit=capacity):
                self.give_back(cache)
                return None
        elif self.make_room(needed, spare=source):
            try:
                cache = self.model.new_sequence_cache(capacity=capacity, ntk="original")
            except ResourceError:  # others have taken memory meanwhile
                return None
            cache.adapter = self._adapter(request)
            self.busy.append(cache)
            if source is not None:
                cache.copy_prefix(source, length)
        else:
            return None
        cache.planned_length = request.planned_length
        return cache

    def grow(self, cache: SequenceCache, length: int, *, limit: int) -> bool:
        """Give a cache room for `length` tokens, and for some more up to `limit`; false where memory is short."""
        if length <= cache.capacity:
            return True
        capacity = max(length, min(limit, int(_GROWTH * length)))
        if not self.make_room(self.model.cache_bytes(capacity=capacity) - cache.num_bytes):
            return False
        with suppress(ResourceError):  # others have taken memory meanwhile
            cache.grow(capacity)
        return cache.capacity == capacity

    def give_back(self, cache: SequenceCache) -> None:
        """Keep what a cache holds for a request to come, unless the weights are others by now or the adapter gone."""
        if cache in self._outdated or self._is_forgotten(cache):
            self.drop(cache)
        else:
            super().give_back(cache)

    def drop(self, cache: SequenceCache) -> None:
        """Free the memory of a cache at work."""
        super().drop(cache)
        self._outdated.discard(cache)

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
        room = min(room, request.cache.max_pass_tokens - num_read if num_read == request.num_unread else 0)
        if request.ntk == "recompute" and self.model.config.dynamic_ntk:
            trained = self.model.config.trained_length
            while room > 0 and ntk_alpha(length + room, trained_length=trained) != request.cache.alpha:
                room -= 1
        return room

    def forget_adapters(self) -> None:
        """Drop kept caches of adapters that were removed."""
        if self.adapters is not None and self.adapters.num_removed != self._num_removed:
            self._num_removed = self.adapters.num_removed
            for cache in [cache for cache in self.kept if self._is_forgotten(cache)]:
                self._drop_kept(self.kept.index(cache))

    def _is_forgotten(self, cache: SequenceCache) -> bool:
        return cache.adapter is not None and (self.adapters is None or cache.adapter not in self.adapters)

    def _adapter(self, request: Request) -> AdapterWeights | None:
        return None if self.adapters is None else request.adapter_weights

    def _find_prefix(self, request: Request) -> tuple[SequenceCache | None, int]:
        caches = (*self.kept, *(cache for cache in self.busy if cache not in self._outdated))
        alike = (cache for cache in caches if cache.adapter is self._adapter(request))
        return find_prefix(request.ids[: request.needed_from], alike, alpha=self.alpha(request))

    def _forget_other_weights(self) -> None:
        """Drop kept caches where a weight was replaced or changed since: they hold what the old one made.

        Requests that run go on with theirs.
        """
        state = weights_state(self.model)
        weights = self.model.config, self.model.cache_dtype, state
        if weights != self._weights:
            self._weights = weights
            self.kept.clear()
            self._outdated.update(self.busy)
        if self.saved is not None and self.saved.weights_state != state:
            self.saved = None
            warnings.warn(
                "prompt_cache is not used any more, as a weight of the model was changed or moved", stacklevel=2
            )
