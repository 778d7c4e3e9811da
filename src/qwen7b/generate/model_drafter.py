"""Drafts come from a smaller model of the same vocabulary, with caches of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from qwen7b.generate.prefixes import count_common
from qwen7b.generate.request import Request
from qwen7b.generate.slots import Slots
from qwen7b.model import Transformer
from qwen7b.model.cache import Cache
from qwen7b.model.sequence_cache import SequenceCache
from qwen7b.sampling.picking import likeliest
from qwen7b.system.signals import interrupts_deferred

_CATCHING_UP = 128
"""The most tokens of a prompt that a draft model reads in one step, so that a long prompt stalls nobody."""


class ModelDrafter:
    """Drafts a smaller model's likeliest tokens (speculative decoding, https://arxiv.org/abs/2211.17192).

    vocab_size  ids at and past it are never drafted
    """

    def __init__(self, model: Transformer, *, vocab_size: int) -> None:
        self.model = model
        self.vocab_size = min(vocab_size, model.config.vocab_rows)
        self._slots = Slots(model)
        self._caches: dict[Request, SequenceCache] = {}
        self._num_known: dict[Request, int] = {}
        """How many of a request's ids its cache is known to hold."""

    def offer(self, request: Request, *, max_length: int) -> int:
        """Read more of the request into its cache, and return how long a draft can be: 0 until all is read."""
        length = len(request.ids)
        if length + max_length > self.model.config.context_length:
            return 0
        with interrupts_deferred():
            cache = self._prepare(request, length + max_length)
        if cache is None:
            return 0
        num_unread = length - cache.length
        if num_unread > 2:  # the newest token, and the last drafted one, which was never read
            ids = torch.tensor(request.ids[cache.length : -1][:_CATCHING_UP])
            if int(ids.max()) >= self.model.config.vocab_rows:
                return 0
            for _ in self.model.passes([ids], cache=Cache([cache])):
                pass
        return max_length if length - cache.length <= 2 else 0

    def draft(self, lengths: Mapping[Request, int]) -> dict[Request, list[int]]:
        """Draft so many ids for each request, as offered: one pass a token, over all that are not done."""
        drafts: dict[Request, list[int]] = {request: [] for request in lengths}
        new_ids = {request: request.ids[self._caches[request].length :] for request in lengths}
        while new_ids:
            for request, token_id in zip(new_ids, self._next(new_ids), strict=True):
                drafts[request].append(token_id)
            new_ids = {request: drafts[request][-1:] for request in new_ids if len(drafts[request]) < lengths[request]}
        return drafts

    def forget(self, request: Request) -> None:
        if (cache := self._caches.pop(request, None)) is not None:
            self._slots.give_back(cache)
            self._slots.trim()
            del self._num_known[request]

    def _prepare(self, request: Request, length: int) -> SequenceCache | None:
        """The request's cache, with room for so many tokens; None where memory is short."""
        cache = self._caches.get(request)
        if cache is None:
            if (cache := self._slots.take(request)) is None:
                return None
            self._caches[request], self._num_known[request] = cache, 0
        self._rewind(request, cache)
        return cache if self._slots.grow(cache, length, limit=max(request.max_length, length)) else None

    def _rewind(self, request: Request, cache: SequenceCache) -> None:
        """Truncate the cache to what it has in common with the request, or to nothing where NTK's alpha has changed."""
        known = min(self._num_known[request], cache.length)
        theirs = cache.ids[known : cache.length].numpy()
        length = min(known + count_common(request.ids[known : cache.length], theirs), len(request.ids) - 1)
        if self._slots.alpha(request) != cache.alpha or not cache.reaches_back(length):
            length = 0
        cache.truncate(length)
        cache.planned_length = request.planned_length
        self._num_known[request] = length

    def _next(self, new_ids: Mapping[Request, Sequence[int]]) -> list[int]:
        """The likeliest id after each request's new ids."""
        cache = Cache([self._caches[request] for request in new_ids])
        ((rows, hidden_RC),) = self.model.passes([*map(torch.tensor, new_ids.values())], cache=cache)
        last: Tensor = hidden_RC[list(rows.last().values())]
        return likeliest(self.model.head(last)[:, : self.vocab_size].float())[0]
