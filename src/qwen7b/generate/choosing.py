"""The next token of each request: its own processors, penalties and settings act on its own logits."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from qwen7b.errors import SettingError, quoted
from qwen7b.generate.request import Request
from qwen7b.sampling.picking import check_finite, log_probabilities, pick
from qwen7b.sampling.token_logprob import TokenLogprob

Choice = tuple[int, TokenLogprob | None]


def choose(requests: Sequence[Request], logits_BV: Tensor) -> dict[Request, Choice]:
    """Choose each request's next id, and compute its log-probability under the model itself where that is asked for.

    Logits are changed in place. A request that cannot choose fails, and is left out.
    """
    own = {
        request: logits_BV[index].clone() if request.processors else logits_BV[index]
        for index, request in enumerate(requests)
        if request.logprobs is not None
    }
    for index, request in enumerate(requests):
        if request.processors and not request.queue:
            with request.failing():
                _process(request, logits_BV[index])
    chosen = {request: request.queue.popleft() for request in requests if request.queue}
    for rows in _alike([(row, request) for row, request in enumerate(requests) if request not in chosen]):
        try:
            chosen |= _pick(rows, logits_BV)
        except Exception:  # raised before anything was drawn, so each can be tried by itself
            for row in rows:
                with row[1].failing():
                    chosen |= _pick([row], logits_BV)
    choices: dict[Request, Choice] = {}
    for request, token_id in chosen.items():
        with request.failing():
            choices[request] = token_id, _logprob(request, token_id, own[request]) if request in own else None
    return choices


def _process(request: Request, logits_V: Tensor) -> None:
    """Apply a request's processors to its logits, in place."""
    check_finite(logits_V[None])
    changed_V = logits_V
    for processor in request.processors:
        changed_V = processor(list(request.ids), changed_V)
        if not isinstance(changed_V, Tensor) or changed_V.shape != logits_V.shape or not changed_V.is_floating_point():
            raise SettingError(
                f"a processor must return the logits of all {len(logits_V)} tokens as floats, found {quoted(changed_V)}"
            )
    if changed_V is not logits_V:
        logits_V.copy_(changed_V)
    largest = float(logits_V.max())
    if largest == -torch.inf:
        raise SettingError("the processors of logits leave no token to choose: let at least one keep a finite logit")
    if not math.isfinite(largest):
        raise SettingError(f"the processors of logits make one {largest}: let all be finite, or -inf")


def _alike(rows: Sequence[tuple[int, Request]]) -> list[list[tuple[int, Request]]]:
    """Group rows and their requests by sampling settings, without the requests that failed."""
    groups: list[list[tuple[int, Request]]] = []
    for row, request in rows:
        if request.is_over:
            continue
        for group in groups:
            if group[0][1].shared_sampling == request.shared_sampling:
                group.append((row, request))
                break
        else:
            groups.append([(row, request)])
    return groups


def _pick(rows: Sequence[tuple[int, Request]], logits_BV: Tensor) -> dict[Request, int]:
    indices, requests = zip(*rows, strict=True)
    if len(rows) < len(logits_BV):
        logits_BV = logits_BV[list(indices)]
    ids = pick(logits_BV, requests[0].shared_sampling, [request.sampling_state for request in requests])
    return dict(zip(requests, ids, strict=True))


def _logprob(request: Request, token_id: int, logits_V: Tensor) -> TokenLogprob:
    assert request.logprobs is not None
    return log_probabilities(logits_V[None], [token_id], num_top=request.logprobs)[0]
