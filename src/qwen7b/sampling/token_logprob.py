"""How likely a picked token was."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenLogprob:
    """One token's natural-log probability under the model, before sampling settings act."""

    token_id: int
    logprob: float
    top: tuple[tuple[int, float], ...]
    """The likeliest token ids with their log-probabilities, as many as were asked for, likeliest first."""
