"""Verification: which of the drafted tokens are what their requests pick anyway.

A row of logits counts only where all drafted tokens before it were picked, one after the other, by the request's own
processors, settings and draws. So no token depends on a draft, with greedy picks and seeds alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

from torch import Tensor

from qwen7b.generate.choosing import Choice, choose
from qwen7b.generate.prefixes import count_common
from qwen7b.generate.request import Request
from qwen7b.generate.request_state import State

Drafts = Mapping[Request, Sequence[int]]
"""The drafted ids of some requests."""


def add_tokens(num_rows: Mapping[Request, int], logits_RV: Tensor, drafts: Drafts) -> dict[Request, int]:
    """Add a token to each request, and more while its draft agrees.

    `num_rows` says how many rows of the logits are each request's: one for its newest token, and one for each token of
    its draft. Returns how many tokens of each draft were right, but for requests that ended, where it is not known. The
    others are forgotten by its cache at once, since forced tokens may have come in their place.
    """
    first = dict(zip(num_rows, accumulate(num_rows.values(), initial=0), strict=False))
    start = {request: len(request.ids) for request in num_rows}
    rows = dict(first)
    while rows:
        logits_BV = logits_RV if len(rows) == len(logits_RV) else logits_RV[list(rows.values())]
        _add_all(choose(list(rows), logits_BV))
        rows = {
            request: first[request] + len(request.ids) - start[request]
            for request in rows
            if _is_decoding(request) and _is_right(drafts.get(request, ()), request.ids[start[request] :])
        }
    accepted = {
        request: count_common(draft, request.ids[start[request] :])
        for request, draft in drafts.items()
        if _is_decoding(request)
    }
    for request, num_accepted in accepted.items():
        assert request.cache is not None
        request.cache.truncate(request.num_read - len(drafts[request]) + num_accepted)
    return accepted


def _add_all(chosen: Mapping[Request, Choice]) -> None:
    interrupt: BaseException | None = None
    for request, (token_id, logprob) in chosen.items():
        try:
            with request.failing():
                request.add(token_id, logprob)
        except BaseException as error:  # the others' draws are made, so that they must have their tokens
            interrupt = interrupt or error
    if interrupt is not None:
        raise interrupt


def _is_decoding(request: Request) -> bool:
    return request.state is State.DECODING and not request.is_cancelled


def _is_right(draft: Sequence[int], ids: Sequence[int]) -> bool:
    """Whether a draft begins with the new ids, so that the row after them is computed from the real text."""
    return list(draft[: len(ids)]) == ids
