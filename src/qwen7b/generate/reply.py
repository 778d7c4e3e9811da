"""The results of a generation: replies, their pieces and their logprobs; and those of scoring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qwen7b.sampling.token_logprob import TokenLogprob

FinishReason = Literal["stop", "length", "interrupted"]
"""The reply was ended by the model or a stop string, by max_new_tokens or the context, or by the user (Ctrl-C)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    prompt_tokens: int
    completion_tokens: int
    """The number of tokens that the model made, the stop token included."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """How likely a continuation is under the model, before sampling settings act."""

    logprob: float
    """The natural log of its probability given the context: the sum of `token_logprobs`."""
    token_ids: tuple[int, ...]
    token_logprobs: tuple[float, ...]
    """The log-probability of each of `token_ids` given all before it."""
    is_greedy: bool
    """Whether each token is the likeliest in its place, so that greedy decoding would make just these."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    text: str
    token_ids: list[int]
    """The ids that the model made, without the stop token."""
    finish_reason: FinishReason
    usage: Usage
    logprobs: list[TokenLogprob] | None = None
    """The log-probabilities of `token_ids`, one each, where they were asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """A stretch of a reply in the making; the pieces' texts joined are the reply's text."""

    text: str
    reply: Reply | None = None
    """The whole reply, on the last piece only."""
