"""The next token of every row, picked from logits by the settings of `sampling.py`. Pure but for the draws.

Legend of axes as in `model/__init__.py`, and K: the tokens of a row that may still be drawn. All rows of a call share
their settings; what differs by row is its `SamplingState`. A row's pick does not depend on the rows beside it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from qwen7b.errors import SettingError, UnsupportedError
from qwen7b.sampling.sampling import Greedy, Sample, Sampling
from qwen7b.sampling.token_logprob import TokenLogprob

_NUM_CANDIDATES = 1024
"""How many of the likeliest tokens top_p tries first: they nearly always suffice, and a vocabulary sorts slowly."""


class SamplingState:
    """The state of one sequence that a pick depends on: its tokens so far, and its random number generator."""

    def __init__(self, prompt_ids: Iterable[int], sampling: Sampling) -> None:
        self.seen_ids = set(prompt_ids)
        """Ids in prompt or reply, which repetition_penalty acts on."""
        self.reply_counts: dict[int, int] = {}
        """How often the reply has each of its ids, which presence_penalty and frequency_penalty act on."""
        self.generator = torch.Generator()
        if isinstance(sampling, Sample) and sampling.seed is not None:
            self.generator.manual_seed(sampling.seed)
        else:
            self.generator.seed()

    def add(self, token_id: int) -> None:
        """Take in a token of the reply."""
        self.seen_ids.add(token_id)
        self.reply_counts[token_id] = self.reply_counts.get(token_id, 0) + 1


@dataclass(frozen=True, slots=True)
class Candidates:
    """A narrowed distribution of each row."""

    weights_BK: Tensor
    """Probabilities but for a factor; 0 for what is cut."""
    ids_BK: Tensor | None
    """None where the K are all ids in order."""


def pick(logits_BV: Tensor, sampling: Sampling, states: Sequence[SamplingState]) -> list[int]:
    """The next token id of each row of float32 logits; a random one takes V numbers of its row's generator.

    Raises UnsupportedError where logits are not numbers, and SettingError where no token is left to choose.
    """
    best = check_finite(logits_BV)
    adjusted_BV = adjust_logits(logits_BV, sampling, states)
    if adjusted_BV is not logits_BV:
        logits_BV, (best, values) = adjusted_BV, likeliest(adjusted_BV)
        if not all(map(math.isfinite, values)):
            raise SettingError("penalties and logit_bias leave no token to choose: make them less extreme")
    if isinstance(sampling, Greedy):
        return best
    # MPS has no float64.
    candidates = narrow(logits_BV.cpu() if logits_BV.device.type == "mps" else logits_BV, sampling)
    ids_BK = candidates.ids_BK
    ids_of_rows = [None] * len(states) if ids_BK is None else ids_BK.cpu().unbind()
    return [
        _draw(weights_K, ids_K, vocab_size=logits_BV.shape[1], generator=state.generator)
        for weights_K, ids_K, state in zip(candidates.weights_BK.cpu(), ids_of_rows, states, strict=True)
    ]


def check_finite(logits_BV: Tensor) -> list[int]:
    """The likeliest id of each row. Raises UnsupportedError where logits are not numbers."""
    best, values = likeliest(logits_BV)
    if not all(map(math.isfinite, values)):
        raise UnsupportedError(
            "the model's logits are not finite: its weights are damaged or overflow this dtype; try float32 or bfloat16"
        )
    return best


def adjust_logits(logits_BV: Tensor, sampling: Sampling, states: Sequence[SamplingState]) -> Tensor:
    """Logits after penalties and bias; ids of the model that are no tokens have none. Raises SettingError for a biased
    one of these."""
    repetition, bias = sampling.repetition_penalty, sampling.logit_bias
    counts_reply = sampling.presence_penalty != 0 or sampling.frequency_penalty != 0
    if repetition == 1 and not counts_reply and not bias:
        return logits_BV
    logits_BV = logits_BV.clone()
    device, vocab_size = logits_BV.device, logits_BV.shape[1]
    if repetition != 1:
        index = _index([[each for each in state.seen_ids if each < vocab_size] for state in states], device)
        values_N = logits_BV[index]
        logits_BV[index] = torch.where(values_N > 0, values_N / repetition, values_N * repetition)
    if counts_reply:
        counts = [{each: n for each, n in state.reply_counts.items() if each < vocab_size} for state in states]
        index = _index(counts, device)
        counts_N = torch.tensor([count for of_row in counts for count in of_row.values()])
        logits_BV[index] -= sampling.presence_penalty + sampling.frequency_penalty * counts_N.to(device)
    if bias:
        if too_large := [token_id for token_id in bias if token_id >= vocab_size]:
            raise SettingError(f"logit_bias names token id {too_large[0]}, but ids go from 0 to {vocab_size - 1}")
        logits_BV[:, list(bias)] += torch.tensor(list(bias.values()), dtype=logits_BV.dtype, device=device)
    return logits_BV


def narrow(logits_BV: Tensor, sampling: Sample) -> Candidates:
    """The tokens that temperature, top_k, top_p and min_p leave of each row, the likeliest first where some are cut."""
    vocab_size = logits_BV.shape[1]
    max_B1 = logits_BV.amax(dim=-1, keepdim=True)
    if 0 < sampling.top_k < vocab_size:
        top = logits_BV.topk(sampling.top_k)
        exp_BK = _exponentials(top.values, max_B1, sampling.temperature)
        probs_BK, ids_BK = (exp_BK / exp_BK.sum(dim=-1, keepdim=True)).float(), top.indices
    elif sampling.top_p < 1:
        probs_BK, ids_BK = _likeliest_first(logits_BV, max_B1, sampling)
    else:
        probs_BK, ids_BK = _probabilities(logits_BV, max_B1, sampling.temperature), None
    if sampling.top_p < 1:
        kept_BK = probs_BK.cumsum(dim=-1) - probs_BK < sampling.top_p
        kept_BK[:, 0] = True
        probs_BK = probs_BK.where(kept_BK, 0.0)
    if sampling.min_p > 0:
        probs_BK = probs_BK.where(probs_BK >= sampling.min_p * probs_BK.amax(dim=-1, keepdim=True), 0.0)
    return Candidates(probs_BK, ids_BK)


def log_probabilities(logits_BV: Tensor, token_ids: Sequence[int], *, num_top: int) -> list[TokenLogprob]:
    """Log-probabilities of one token a row, under the model itself, and of the `num_top` likeliest beside it."""
    ids_B1 = torch.tensor(token_ids, device=logits_BV.device)[:, None]
    sum_exp_B1 = log_sum_exp(logits_BV)[:, None]
    chosen_B = (logits_BV.gather(1, ids_B1) - sum_exp_B1)[:, 0].tolist()
    top = logits_BV.topk(num_top)
    return [
        TokenLogprob(token_id=token_id, logprob=logprob, top=tuple(zip(ids, values, strict=True)))
        for token_id, logprob, ids, values in zip(
            token_ids, chosen_B, top.indices.tolist(), (top.values - sum_exp_B1).tolist(), strict=True
        )
    ]


def log_sum_exp(logits_BV: Tensor) -> Tensor:
    """Each row's log-sum-exp (B,): logits less it are log-probabilities."""
    # Row by row, a sum does not depend on the batch; over a table it is also slower, and a softmax is less exact.
    return torch.stack([logits_V.logsumexp(dim=-1) for logits_V in logits_BV])


def likeliest(logits_BV: Tensor) -> tuple[list[int], list[float]]:
    """The id of each row's largest logit, or of one that is not a number; and these logits."""
    if logits_BV.device.type != "cpu":
        values_B, ids_B = logits_BV.max(dim=-1)
        return ids_B.tolist(), values_B.tolist()
    # NumPy finds it many times faster than torch, row by row; along an axis it would copy all first.
    rows = logits_BV.numpy()
    best = [int(logits_V.argmax()) for logits_V in rows]
    return best, [float(logits_V[token_id]) for logits_V, token_id in zip(rows, best, strict=True)]


def _index(ids: Sequence[Collection[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """The places of each row's ids among (B, V), as PyTorch indexes them."""
    rows_N = torch.arange(len(ids)).repeat_interleave(torch.tensor([len(of_row) for of_row in ids]))
    ids_N = torch.tensor([token_id for of_row in ids for token_id in of_row], dtype=torch.long)
    return rows_N.to(device), ids_N.to(device)


def _exponentials(logits_BK: Tensor, max_B1: Tensor, temperature: float) -> Tensor:
    """exp((logit - max) / temperature), in float64 and at most 1, so that no temperature overflows."""
    return (logits_BK - max_B1).double().div_(temperature).exp_()


def _probabilities(logits_BV: Tensor, max_B1: Tensor, temperature: float) -> Tensor:
    """float32 probabilities of all tokens; row by row, as float64 of a whole batch leaves the processor's cache."""
    scaled = ((logits_V - max_1).double().div_(temperature) for logits_V, max_1 in zip(logits_BV, max_B1, strict=True))
    return torch.stack([scaled_V.softmax(dim=-1).float() for scaled_V in scaled])


def _likeliest_first(logits_BV: Tensor, max_B1: Tensor, sampling: Sample) -> tuple[Tensor, Tensor]:
    """Probabilities and ids of the likeliest tokens, enough of them to reach top_p."""
    vocab_size, temperature = logits_BV.shape[1], sampling.temperature
    sum_exp_B1 = torch.stack(
        [
            _exponentials(logits_V, max_1, temperature).sum(dim=-1, keepdim=True)
            for logits_V, max_1 in zip(logits_BV, max_B1, strict=True)  # for the same reason row by row
        ]
    )
    top = logits_BV.topk(min(_NUM_CANDIDATES, vocab_size))
    probs_BK, ids_BK = (_exponentials(top.values, max_B1, temperature) / sum_exp_B1).float(), top.indices
    flat_B = probs_BK.sum(dim=-1) < sampling.top_p
    if flat_B.any():
        cut = vocab_size - probs_BK.shape[1]
        probs_BK, ids_BK = (torch.nn.functional.pad(tensor, (0, cut)) for tensor in (probs_BK, ids_BK))
        flat = _probabilities(logits_BV[flat_B], max_B1[flat_B], temperature)
        probs_BK[flat_B], ids_BK[flat_B] = flat.sort(dim=-1, descending=True, stable=True)
    return probs_BK, ids_BK


def _draw(weights_K: Tensor, ids_K: Tensor | None, *, vocab_size: int, generator: torch.Generator) -> int:
    """An id drawn from one row's weights on the CPU: that of the largest weight / q, where q is exponential.

    It is the id that `torch.multinomial` draws, which has a q for every id of the vocabulary too; but here only ids
    that may win cost a logarithm.
    """
    uniform_V = torch.empty(vocab_size, dtype=torch.float64).uniform_(generator=generator)
    uniform_K = uniform_V if ids_K is None else uniform_V[ids_K]
    winner = int((weights_K / uniform_K.neg_().log1p_().neg_().float()).numpy().argmax())
    return winner if ids_K is None else int(ids_K[winner])
