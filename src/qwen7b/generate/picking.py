"""The next token, picked from logits as the settings in `sampling.py` say. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from qwen7b.errors import SettingError, UnsupportedError
from qwen7b.generate.sampling import Greedy, Sample, Sampling

_LIKELIEST = 1024


def adjust_logits(logits_V: Tensor, sampling: Sampling, *, seen_ids: Iterable[int]) -> Tensor:
    """Logits after repetition penalty and bias. Raises SettingError for a biased id out of range."""
    if sampling.repetition_penalty == 1.0 and not sampling.logit_bias:
        return logits_V
    logits_V = logits_V.clone()
    if sampling.repetition_penalty != 1.0 and (seen := sorted(set(seen_ids))):
        index = torch.tensor(seen, device=logits_V.device)
        values = logits_V[index]
        penalty = sampling.repetition_penalty
        logits_V[index] = torch.where(values > 0, values / penalty, values * penalty)
    for token_id, bias in sampling.logit_bias.items():
        if token_id >= len(logits_V):
            raise SettingError(f"logit_bias names token id {token_id}, but ids go from 0 to {len(logits_V) - 1}")
        logits_V[token_id] += bias
    return logits_V


def narrow(logits_V: Tensor, sampling: Sample) -> Tensor:
    """Probabilities (V,) after temperature, top_k, top_p and min_p; what is cut has probability 0."""
    # In float64, and with the likeliest at 0, so that no temperature overflows.
    probs_V = torch.softmax((logits_V - logits_V.max()).double() / sampling.temperature, dim=-1).float()
    if 0 < sampling.top_k < len(probs_V):
        kept = probs_V.topk(sampling.top_k)
        probs_V = torch.zeros_like(probs_V).scatter(0, kept.indices, kept.values)
        probs_V /= probs_V.sum()
    if sampling.top_p < 1.0:
        # The likeliest few nearly always suffice, and a vocabulary takes long to sort.
        ordered, order = probs_V.topk(min(_LIKELIEST, len(probs_V)))
        if ordered.sum() < sampling.top_p:
            ordered, order = probs_V.sort(descending=True, stable=True)
        kept_ordered = ordered.cumsum(0) - ordered < sampling.top_p
        kept_ordered[0] = True
        probs_V = torch.zeros_like(probs_V).scatter(0, order, ordered.where(kept_ordered, 0.0))
    if sampling.min_p > 0.0:
        probs_V = probs_V.where(probs_V >= sampling.min_p * probs_V.max(), 0.0)
    return probs_V / probs_V.sum()


def pick(logits_V: Tensor, sampling: Sampling, *, seen_ids: Iterable[int], generator: torch.Generator) -> int:
    """The next token id from float32 logits (V,). Raises UnsupportedError where they are not numbers."""
    if not math.isfinite(float(logits_V[_likeliest(logits_V)])):
        raise UnsupportedError(
            "the model's logits are not finite: its weights are damaged or overflow this dtype; try float32 or bfloat16"
        )
    logits_V = adjust_logits(logits_V, sampling, seen_ids=seen_ids)
    best = _likeliest(logits_V)
    if not math.isfinite(float(logits_V[best])):
        raise SettingError("repetition_penalty and logit_bias leave no token to choose: make them less extreme")
    if isinstance(sampling, Greedy):
        return best
    probs_V = narrow(logits_V, sampling).cpu()
    return int(torch.multinomial(probs_V, 1, generator=generator))


def _likeliest(logits_V: Tensor) -> int:
    """The largest's id, or one that is not a number; on a CPU NumPy finds it many times sooner than torch."""
    return int(logits_V.numpy().argmax() if logits_V.device.type == "cpu" else logits_V.argmax())
