"""Follows one reply through a grammar: the tokens that may come next, and those that must."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from qwen7b.errors import UnsupportedError
from qwen7b.sampling.picking import likeliest

if TYPE_CHECKING:
    from llguidance import LLMatcher


class GrammarMatcher:
    """One reply's place in a grammar, to which ids are only ever added.

    Called, it is a `Processor`; its `force` is a request's `forced`. Where the likeliest token is what will be picked,
    it asks for that token first: a mask, which takes a hundred times as long, is only needed where that is forbidden.
    """

    def __init__(self, matcher: LLMatcher, *, num_prompt: int, stop_id: int, picks_likeliest: bool = False) -> None:
        self._matcher = matcher
        self._stop_id = stop_id
        self._picks_likeliest = picks_likeliest
        self._num_followed = num_prompt
        """How many ids need not be taken in any more: those of the prompt, and of the reply so far."""

    def __call__(self, ids: Sequence[int], logits_V: Tensor) -> Tensor:
        """Forbid all ids that the grammar does not allow after these, in place, unless the likeliest is allowed."""
        self._follow(ids)
        if self._picks_likeliest and self._allows(likeliest(logits_V[None])[0][0]):
            return logits_V
        mask = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        self._check()
        is_allowed_V = np.unpackbits(mask, count=len(logits_V), bitorder="little").view(bool)
        if logits_V.device.type != "cpu":
            return logits_V.masked_fill_(torch.from_numpy(~is_allowed_V).to(logits_V.device), -torch.inf)
        _forbid(logits_V.numpy(), is_allowed_V)
        return logits_V

    def force(self, ids: Sequence[int]) -> list[int]:
        """The ids that come after these whatever the model says; the one that ends a reply, where nothing else may."""
        self._follow(ids)
        forced = [self._stop_id] if self._matcher.is_stopped() else self._matcher.compute_ff_tokens()
        self._check()
        return forced

    def _allows(self, token_id: int) -> bool:
        """Whether this id may come next. Where some must come it is not asked: a mask has theirs alone."""
        allows = not self._matcher.compute_ff_tokens() and self._matcher.validate_tokens([token_id]) == 1
        self._check()
        return allows

    def _follow(self, ids: Sequence[int]) -> None:
        new_ids = list(ids[self._num_followed :])
        self._matcher.consume_tokens(new_ids)
        self._check()
        self._num_followed += len(new_ids)

    def _check(self) -> None:
        """Raise UnsupportedError where the matcher gave up: it never raises, and would then allow nothing."""
        if self._matcher.is_error():
            raise UnsupportedError(f"the reply cannot follow its grammar: {self._matcher.get_error()!r}")


def _forbid(logits_V: np.ndarray, is_allowed_V: np.ndarray) -> None:
    """Set the logits of what is not allowed to -inf. A mask has few tokens or nearly all, which are quick by index.

    torch would begin threads for it, which takes longer than the work.
    """
    if 2 * np.count_nonzero(is_allowed_V) > len(logits_V):
        logits_V[np.flatnonzero(~is_allowed_V)] = -np.inf
    else:
        allowed = np.flatnonzero(is_allowed_V)
        kept = logits_V[allowed]
        logits_V.fill(-np.inf)
        logits_V[allowed] = kept
