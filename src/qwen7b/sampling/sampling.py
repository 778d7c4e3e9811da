"""How the next token is to be chosen: greedily, or at random from a narrowed distribution; `picking.py` does it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from qwen7b.config.checked import PENALTIES, SAMPLING_CHECKS, is_finite, whole_number
from qwen7b.errors import SettingError, quoted


@dataclass(frozen=True, kw_only=True, slots=True)
class Greedy:
    """Always the most likely token."""

    repetition_penalty: float = 1.0
    """Divides positive and multiplies negative logits of tokens in prompt or reply; 1 is off.
    https://arxiv.org/abs/1909.05858"""
    presence_penalty: float = 0.0
    """Subtracted from the logits of tokens that the reply has already, the prompt's not counted; from -2 to 2, 0 is
    off. https://platform.openai.com/docs/api-reference/chat/create"""
    frequency_penalty: float = 0.0
    """The same, times how often the reply has the token."""
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    """Added to the logits of these token ids; -inf forbids one."""

    def __post_init__(self) -> None:
        _check_shared(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """At random, after the distribution is narrowed by temperature, then top_k, top_p and min_p."""

    temperature: float = 1.0
    """Divides the logits: below 1 sharper, above 1 flatter."""
    top_k: int = 0
    """Keep the k most likely tokens; 0 keeps all."""
    top_p: float = 1.0
    """Keep the most likely tokens that together reach this probability. https://arxiv.org/abs/1904.09751"""
    min_p: float = 0.0
    """Keep tokens at least this fraction as likely as the likeliest. https://arxiv.org/abs/2407.01082"""
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int | None = None
    """With a seed, each sequence draws the same tokens alone, in a stream and in a batch."""
    logit_bias: Mapping[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_shared(self)
        for name in ("temperature", "top_k", "top_p", "min_p"):
            SAMPLING_CHECKS[name](name, getattr(self, name))
        if self.seed is not None:
            whole_number("seed", self.seed, minimum=0, maximum=2**63 - 1)


Sampling = Greedy | Sample


def samplings(sampling: Sampling, num_samples: int) -> list[Sampling]:
    """The sampling of each of several samples of one prompt: with a seed, sample i has the seed + i (modulo 2^63).

    >>> [sampling.seed for sampling in samplings(Sample(seed=5), 3)]
    [5, 6, 7]
    """
    if isinstance(sampling, Greedy) or sampling.seed is None:
        return [sampling] * num_samples
    return [replace(sampling, seed=(sampling.seed + number) % 2**63) for number in range(num_samples)]


def _check_shared(sampling: Greedy | Sample) -> None:
    for name in PENALTIES:
        SAMPLING_CHECKS[name](name, getattr(sampling, name))
    if not isinstance(sampling.logit_bias, Mapping):
        raise SettingError(f"logit_bias must map token ids to numbers, found {quoted(sampling.logit_bias)}")
    for token_id, bias in sampling.logit_bias.items():
        whole_number("a token id in logit_bias", token_id, minimum=0)
        if bias != -math.inf and not is_finite(bias):
            raise SettingError(f"logit_bias must hold numbers or -inf, found {quoted(bias)} for token {token_id}")
