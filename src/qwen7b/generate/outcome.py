"""The results of a pass go to its requests: new tokens, progress in reading a prompt, or hidden states."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from qwen7b.generate.request import Request
from qwen7b.generate.request_state import State
from qwen7b.generate.verification import Drafts, add_tokens
from qwen7b.model.adapter_weights import AdapterWeights

LogitsOf = Callable[[Tensor, Sequence[AdapterWeights | None]], Tensor]


def take_in(
    requests: Sequence[Request], hidden: Sequence[Tensor], drafts: Drafts, *, logits_of: LogitsOf
) -> dict[Request, int]:
    """Give each request what follows from its newest hidden states (T, C), those of its draft included.

    `logits_of` makes float32 logits (R, V) of hidden states (R, C) and of the rows' adapters. Returns how many tokens
    of each draft were right, see `add_tokens`.
    """
    last: dict[Request, Tensor] = {}
    for request, hidden_TC in zip(requests, hidden, strict=True):
        if request.on_hidden is not None:
            _tell_hidden(request, hidden_TC, request.on_hidden)
        elif request.num_unread <= 0:
            last[request] = hidden_TC[-1 - len(drafts.get(request, ())) :]
        elif request.on_prompt is not None:
            with request.failing():
                request.on_prompt(request.num_read, len(request.ids))
    if not last:
        return {}
    num_rows = {request: len(hidden_TC) for request, hidden_TC in last.items()}
    adapters = [request.adapter_weights for request, count in num_rows.items() for _ in range(count)]
    return add_tokens(num_rows, logits_of(torch.cat(list(last.values())), adapters), drafts)


def _tell_hidden(request: Request, hidden_TC: Tensor, on_hidden: Callable[[int, Tensor], None]) -> None:
    start = max(request.num_read - len(hidden_TC), request.hidden_from)
    if start < request.num_read:
        with request.failing():
            on_hidden(start, hidden_TC[start - request.num_read :])
        request.hidden_from = request.num_read
    if not request.num_unread and not request.is_over:
        request.state = State.DONE
