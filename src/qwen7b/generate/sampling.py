"""How the next token is chosen from logits: greedily, or at random from a narrowed distribution. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from qwen7b.errors import SettingError, UnsupportedError


@dataclass(frozen=True, kw_only=True, slots=True)
class Greedy:
    """Always the most likely token."""

    repetition_penalty: float = 1.0
    """Divides positive and multiplies negative logits of tokens seen before; 1 is off. https://arxiv.org/abs/1909.05858"""
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
    seed: int | None = None
    """With a seed, each sequence draws the same tokens alone, in a stream and in a batch."""
    logit_bias: Mapping[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_shared(self)
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise SettingError(f"temperature must be above 0, found {self.temperature}: for no randomness use Greedy()")
        if self.top_k < 0:
            raise SettingError(f"top_k must be 0 (off) or more, found {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise SettingError(f"top_p must be above 0 and at most 1, found {self.top_p}")
        if not 0 <= self.min_p <= 1:
            raise SettingError(f"min_p must be from 0 to 1, found {self.min_p}")
        if self.seed is not None and not 0 <= self.seed < 2**63:
            raise SettingError(f"seed must be from 0 to 2^63 - 1, found {self.seed}")


Sampling = Greedy | Sample


def _check_shared(sampling: Greedy | Sample) -> None:
    if not (math.isfinite(sampling.repetition_penalty) and sampling.repetition_penalty > 0):
        raise SettingError(f"repetition_penalty must be above 0, found {sampling.repetition_penalty}")
    if any(math.isnan(bias) or bias == math.inf for bias in sampling.logit_bias.values()):
        raise SettingError("logit_bias must hold numbers or -inf")


def adjust_logits(logits_V: Tensor, sampling: Sampling, *, seen_ids: Iterable[int]) -> Tensor:
    """Logits after repetition penalty and bias, a new tensor. Raises SettingError for a biased id out of range."""
    logits_V = logits_V.clone()
    if sampling.repetition_penalty != 1.0 and (seen := sorted(set(seen_ids))):
        index = torch.tensor(seen, device=logits_V.device)
        values = logits_V[index]
        penalty = sampling.repetition_penalty
        logits_V[index] = torch.where(values > 0, values / penalty, values * penalty)
    for token_id, bias in sampling.logit_bias.items():
        if not 0 <= token_id < len(logits_V):
            raise SettingError(f"logit_bias names token id {token_id}, but ids go from 0 to {len(logits_V) - 1}")
        logits_V[token_id] += bias
    return logits_V


def narrow(logits_V: Tensor, sampling: Sample) -> Tensor:
    """Probabilities (V,) after temperature, top_k, top_p and min_p; what is cut has probability 0."""
    probs_V = torch.softmax(logits_V / sampling.temperature, dim=-1)
    if 0 < sampling.top_k < len(probs_V):
        kept = probs_V.topk(sampling.top_k)
        probs_V = torch.zeros_like(probs_V).scatter(0, kept.indices, kept.values)
        probs_V /= probs_V.sum()
    if sampling.top_p < 1.0:
        ordered, order = probs_V.sort(descending=True, stable=True)
        before = ordered.cumsum(0) - ordered  # the first token is always kept, as nothing is before it
        probs_V = torch.zeros_like(probs_V).scatter(0, order, ordered.where(before < sampling.top_p, 0.0))
    if sampling.min_p > 0.0:
        probs_V = probs_V.where(probs_V >= sampling.min_p * probs_V.max(), 0.0)
    return probs_V / probs_V.sum()


def pick(logits_V: Tensor, sampling: Sampling, *, seen_ids: Iterable[int], generator: torch.Generator) -> int:
    """The next token id from float32 logits (V,). Raises UnsupportedError where they are not numbers."""
    logits_V = adjust_logits(logits_V, sampling, seen_ids=seen_ids)
    best = int(logits_V.argmax())
    if not math.isfinite(float(logits_V[best])):
        raise UnsupportedError(
            "the model's logits are not finite: its weights are damaged or overflow this dtype; try float32 or bfloat16"
        )
    if isinstance(sampling, Greedy):
        return best
    probs_V = narrow(logits_V, sampling).cpu()
    return int(torch.multinomial(probs_V, 1, generator=generator))
