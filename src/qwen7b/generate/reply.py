"""What a generation gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FinishReason = Literal["stop", "length", "interrupted"]
"""The model or a stop string ended it; max_new_tokens or the context did; the user did (Ctrl-C)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    prompt_tokens: int
    completion_tokens: int
    """Tokens the model made, the stop token included."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenLogprob:
    """One token's natural-log probability under the model, before sampling settings act."""

    token_id: int
    logprob: float
    top: tuple[tuple[int, float], ...]
    """The likeliest token ids with theirs, as many as were asked for, likeliest first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    text: str
    token_ids: list[int]
    """Tokens made, without the stop token."""
    finish_reason: FinishReason
    usage: Usage
    logprobs: list[TokenLogprob] | None = None
    """One for each of `token_ids`, where asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """A stretch of a reply in the making; the pieces' texts joined are the reply's text."""

    text: str
    reply: Reply | None = None
    """The whole reply, on the last piece only."""
