"""The engine: a batch of token sequences, continued one token each at every step. Knows nothing of text.

batch = Batch(model, prompts, sampling=Greedy(), max_lengths=[64])
while batch.active:
    for token in batch.step():
        if token.id in stop_ids: batch.finish(token.sequence)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from qwen7b.generate.picking import SamplingState, log_probabilities, pick
from qwen7b.generate.reply import TokenLogprob
from qwen7b.generate.sampling import Sampling
from qwen7b.model import Cache, NtkMode, Transformer


@dataclass(frozen=True, slots=True)
class Token:
    """A token that a step added to a sequence."""

    sequence: int
    id: int
    logprob: TokenLogprob | None


class Batch:
    """Sequences being continued together. Each gives the tokens that it would give alone.

    prompts      token ids of each sequence, none empty
    max_lengths  tokens each sequence may have in all; it is finished when it has as many
    vocab_size   ids at and past it are never picked
    unused_ids   nor are these
    logprobs     None for no log-probabilities, else how many likeliest tokens to list with each
    on_prompt    called while prompts of several passes are read, with the tokens read so far and all there are
    """

    def __init__(
        self,
        model: Transformer,
        prompts: Sequence[Sequence[int]],
        *,
        sampling: Sampling,
        max_lengths: Sequence[int],
        vocab_size: int,
        unused_ids: Sequence[int] = (),
        logprobs: int | None = None,
        ntk: NtkMode = "recompute",
        on_prompt: Callable[[int, int], None] | None = None,
    ) -> None:
        assert prompts and all(prompts)
        assert all(limit > len(prompt) for limit, prompt in zip(max_lengths, prompts, strict=True))
        self.model = model
        self.sampling = sampling
        self.vocab_size = vocab_size
        self.unused_ids = list(unused_ids)
        self.logprobs = logprobs
        self.on_prompt = on_prompt
        self.max_lengths = list(max_lengths)
        self.sequences = [list(prompt) for prompt in prompts]
        self.active = list(range(len(prompts)))
        self.cache = model.new_cache(batch_size=len(prompts), max_length=max(max_lengths), ntk=ntk)
        if ntk == "reserve":
            self.cache.plan(self.max_lengths)
        self._rows = list(self.active)  # sequence of each row of the cache
        self._states = [SamplingState(prompt, sampling) for prompt in prompts]

    def finish(self, sequence: int) -> None:
        """Add no more tokens to a sequence."""
        self.active.remove(sequence)

    @torch.inference_mode()
    def step(self) -> list[Token]:
        """Add one token to each active sequence; one that reaches its max_length is finished."""
        if self._rows != self.active:
            self.cache = Cache([self.cache.sequences[self._rows.index(sequence)] for sequence in self.active])
            self._rows = list(self.active)
        tokens = self._pick(self._last_logits())
        for token in tokens:
            sequence = self.sequences[token.sequence]
            sequence.append(token.id)
            self._states[token.sequence].add(token.id)
            if len(sequence) >= self.max_lengths[token.sequence]:
                self.finish(token.sequence)
        return tokens

    def _last_logits(self) -> Tensor:
        """float32 logits (B, V) behind each active sequence, of the ids that may be picked."""
        new_ids = [
            torch.tensor(self.sequences[sequence][held:])
            for sequence, held in zip(self.active, self.cache.lengths, strict=True)
        ]
        num_tokens = sum(self.cache.lengths) + sum(map(len, new_ids))
        last: dict[int, Tensor] = {}
        for rows, hidden_RC in self.model.passes(new_ids, cache=self.cache):
            last |= {row: hidden_RC[index] for row, index in rows.last().items()}  # the next pass may have later ones
            if self.on_prompt is not None and (num_read := sum(self.cache.lengths)) < num_tokens:
                self.on_prompt(num_read, num_tokens)
        last_BC = torch.stack([last[row] for row in range(len(self.active))])
        logits_BV: Tensor = self.model.head(last_BC)
        logits_BV = logits_BV[:, : self.vocab_size].float()
        logits_BV[:, self.unused_ids] = -math.inf
        return logits_BV

    def _pick(self, logits_BV: Tensor) -> list[Token]:
        """The next token of each active sequence."""
        ids = pick(logits_BV, self.sampling, [self._states[sequence] for sequence in self.active])
        logprobs: Sequence[TokenLogprob | None] = [None] * len(ids)
        if self.logprobs is not None:
            logprobs = log_probabilities(logits_BV, ids, num_top=self.logprobs)
        return [Token(*fields) for fields in zip(self.active, ids, logprobs, strict=True)]
