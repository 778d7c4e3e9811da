"""Speculation: a drafter guesses what comes next, and a step of the model checks all of it at the cost of some rows.

A guess counts only where it is what the request picks anyway, from its own logits by its own settings and draws, so
that no token depends on it: https://arxiv.org/abs/2211.17192 for greedy picks and seeds alike.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from qwen7b.errors import SettingError, quoted
from qwen7b.generate.model_drafter import ModelDrafter
from qwen7b.generate.ngram_drafter import NgramDrafter
from qwen7b.generate.pace import Pace, running_mean
from qwen7b.generate.request import Request
from qwen7b.model import Transformer

MAX_DRAFT = 24
"""The most tokens of a draft."""
_FADING = 0.8
"""The factor by which the weight of earlier drafts decays with each new one."""
_FORGETTING = 0.98
"""The factor at every step, so that a request whose drafts were wrong is tried again."""


class Drafter(Protocol):
    """Guesses the next tokens of decoding requests."""

    def offer(self, request: Request, *, max_length: int) -> int:
        """Prepare a draft for a request at its present length. Returns how long it can be, up to max_length."""

    def draft(self, lengths: Mapping[Request, int]) -> dict[Request, list[int]]:
        """Draft so many ids for each request, at most as many as were just offered."""

    def forget(self, request: Request) -> None:
        """Drop what is held for a request."""


@dataclass(slots=True)
class Success:
    """How often a request's drafted tokens were right; the newest drafts count most."""

    accepted: float = 0.0
    checked: float = 0.0

    @property
    def probability(self) -> float:
        """The probability that a draft's token is right where all before it are."""
        return (self.accepted + 1) / (self.checked + 2)

    def learn(self, num_accepted: int, length: int) -> None:
        """Take in a checked draft: tokens after the first wrong one say nothing."""
        self.accepted = _FADING * self.accepted + num_accepted
        self.checked = _FADING * self.checked + min(num_accepted + 1, length)

    def fade(self) -> None:
        self.accepted *= _FORGETTING
        self.checked *= _FORGETTING


class Speculation:
    """Decides how many tokens to draft for each request, so that the most tokens a second are made."""

    def __init__(self, pace: Pace, *, vocab_size: int, draft_model: Transformer | None = None) -> None:
        self.pace = pace
        self.drafters: dict[str, Drafter] = {"ngram": NgramDrafter(), "ngram-pool": NgramDrafter(pool=True)}
        if draft_model is not None:
            self.drafters["model"] = ModelDrafter(draft_model, vocab_size=vocab_size)
        self._success: dict[Request, Success] = {}
        self._token_seconds: dict[str, float] = {}
        """The seconds that a drafter takes to lengthen all of its drafts by one token."""

    def check(self, request: Request) -> None:
        """Raise SettingError for a request whose drafter does not exist."""
        if request.speculate is not None and request.speculate not in self.drafters:
            raise SettingError(
                f"speculate should be one of {', '.join(self.drafters)}, found {quoted(request.speculate)}"
            )

    def draft(self, room: Mapping[Request, int], *, num_rows: int, num_decoding: int) -> dict[Request, list[int]]:
        """Draft for some of the decoding requests, within the room of each.

        The step has `num_rows` rows already, and `num_decoding` requests that decode.
        """
        drafts: dict[Request, list[int]] = {}
        for name, drafter in self.drafters.items():
            limits = {request: min(length, MAX_DRAFT) for request, length in room.items() if request.speculate == name}
            if not limits:
                continue
            for request in limits:
                self._success.setdefault(request, Success()).fade()
            choose = partial(self._choose_lengths, name, num_rows=num_rows, num_decoding=num_decoding)
            wanted = choose(limits)
            lengths = choose({request: drafter.offer(request, max_length=limits[request]) for request in wanted})
            if lengths:
                started = time.perf_counter()
                drafts |= drafter.draft(lengths)
                num_rows += sum(lengths.values())
                seconds = (time.perf_counter() - started) / max(lengths.values())
                self._token_seconds[name] = running_mean(self._token_seconds.get(name), seconds)
            elif name in self._token_seconds:
                self._token_seconds[name] *= _FORGETTING
        return drafts

    def learn(self, request: Request, *, num_accepted: int, length: int) -> None:
        """Take in how many tokens of a request's draft were accepted."""
        self._success[request].learn(num_accepted, length)

    def forget(self, request: Request) -> None:
        """Drop what is held for a request."""
        if request.speculate is not None:
            self._success.pop(request, None)
            self.drafters[request.speculate].forget(request)

    def _choose_lengths(
        self, drafter: str, limits: Mapping[Request, int], *, num_rows: int, num_decoding: int
    ) -> dict[Request, int]:
        """Choose how many tokens to draft for each request: the likeliest to be accepted, as many as raise the rate.

        The k-th is accepted if it and all before it are right. The rate is the expected number of tokens, one of each
        request and those accepted, over the measured time of such a step.
        """
        candidates = [
            (self._success[request].probability ** depth, depth, request)
            for request, limit in limits.items()
            for depth in range(1, limit + 1)
        ]
        candidates.sort(key=lambda candidate: -candidate[0])  # each before the next of its request, as it is likelier
        seconds = self.pace.seconds_of_rows(range(num_rows, num_rows + len(candidates) + 1))
        token_seconds = self._token_seconds.get(drafter, 0.0)
        num_tokens, num_passes = float(num_decoding), 0
        best, best_rate = 0, num_tokens / seconds[0]
        for count, (probability, depth, _) in enumerate(candidates, start=1):
            num_tokens += probability
            num_passes = max(num_passes, depth)
            rate = num_tokens / (seconds[count] + num_passes * token_seconds)
            if rate > best_rate:
                best, best_rate = count, rate
        return dict(Counter(request for _, _, request in candidates[:best]))
