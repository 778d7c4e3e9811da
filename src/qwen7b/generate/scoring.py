"""Log-probabilities of given tokens after others; common prefixes of sequences are read once."""

from __future__ import annotations

import math
import time
from array import array
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from qwen7b.generate.hidden_states import BACKGROUND, read_all
from qwen7b.generate.reply import Score
from qwen7b.generate.request import Request
from qwen7b.generate.shared_engine import SharedEngine
from qwen7b.sampling.picking import check_finite, log_sum_exp

HEAD_ROWS = 128
"""How many positions go through the head at a time: the logits of 2,048 would take 1.2 GB."""
_MAX_WAIT = 10.0
"""Seconds after which fewer go, so that what is known is told: a large model may take long to read so many."""


@dataclass(frozen=True, slots=True)
class ScoredSequence:
    """A sequence whose ids from `start` on are to be scored, each given all before it; `start` is at least 1."""

    ids: array[int]
    start: int


@dataclass(slots=True)
class _Reading:
    """One reading for one or several sequences: the ids of the longest but its last; the others are prefixes of it."""

    ids: array[int]
    hidden_from: int
    indices: list[int]


class Scoring:
    """The scores of sequences in the making. Made for one call, and used up by it.

    The probability of an id is its share among those that the engine may pick. A sequence is read with dynamic NTK's
    alpha for its full length, as in one pass over it. `report` is called with the number of ids just scored.
    """

    def __init__(
        self,
        shared: SharedEngine,
        sequences: Sequence[ScoredSequence],
        *,
        report: Callable[[int], None] = lambda count: None,
        adapter: str | None = None,
    ) -> None:
        self.shared = shared
        self.sequences = sequences
        self.report = report
        self.adapter = adapter
        self._adapter_weights = shared.engine.adapters.find(adapter)  # raises for an unknown one
        self._pending: deque[tuple[Tensor, list[tuple[int, int]]]] = deque()
        """Hidden states (C,) from the engine, each with the sequences that need it and the ids to score."""
        self._logprobs: dict[int, list[float]] = {}
        self._not_greedy: set[int] = set()

    def stream(self) -> Generator[tuple[int, Score], None, None]:
        """Yield each sequence's index and score, in the order in which they are done."""
        requests = map(self._request, _share(self.sequences, self.shared.engine.slots.alpha_of))
        with closing(read_all(self.shared, requests, has_news=lambda: len(self._pending) >= HEAD_ROWS)) as news:
            last = time.monotonic()
            for _ in news:
                has_waited = time.monotonic() - last > _MAX_WAIT
                while self._pending and (has_waited or len(self._pending) >= HEAD_ROWS):
                    yield from self._score(min(len(self._pending), HEAD_ROWS))
                    last = time.monotonic()
        yield from self._score(len(self._pending))

    def _request(self, reading: _Reading) -> Request:
        wanted: dict[int, list[tuple[int, int]]] = {}
        for index in reading.indices:
            sequence = self.sequences[index]
            for position, token_id in enumerate(sequence.ids[sequence.start :], start=sequence.start - 1):
                wanted.setdefault(position, []).append((index, token_id))
        return Request(
            ids=reading.ids.tolist(),
            max_length=len(reading.ids) + 1,
            ntk="reserve",
            priority=BACKGROUND,
            on_hidden=partial(self._take_in, wanted),
            hidden_from=reading.hidden_from,
            adapter=self.adapter,
        )

    def _take_in(self, wanted: dict[int, list[tuple[int, int]]], start: int, hidden_TC: Tensor) -> None:
        positions = [position for position in range(start, start + len(hidden_TC)) if position in wanted]
        if positions:
            rows = [position - start for position in positions]
            hidden_RC = hidden_TC[rows]  # a copy, as a view would keep all of them in memory
            self._pending.extend(zip(hidden_RC, map(wanted.__getitem__, positions), strict=True))

    @torch.inference_mode()
    def _score(self, count: int) -> list[tuple[int, Score]]:
        """Score the ids of the first `count` pending hidden states. Returns the sequences that are done with them."""
        if not count:
            return []
        hidden, wanted = zip(*(self._pending.popleft() for _ in range(count)), strict=True)
        logits_RV = self.shared.engine.logits_of(torch.stack(hidden), [self._adapter_weights] * count)
        best_ids = check_finite(logits_RV)
        rows, indices, ids = zip(*((row, *pair) for row, pairs in enumerate(wanted) for pair in pairs), strict=True)
        chosen = (logits_RV[list(rows), list(ids)] - log_sum_exp(logits_RV)[list(rows)]).tolist()
        done = []
        for row, index, token_id, logprob in zip(rows, indices, ids, chosen, strict=True):
            if token_id != best_ids[row]:
                self._not_greedy.add(index)
            if (score := self._add(index, logprob)) is not None:
                done.append((index, score))
        self.report(len(ids))
        return done

    def _add(self, index: int, logprob: float) -> Score | None:
        sequence, logprobs = self.sequences[index], self._logprobs.setdefault(index, [])
        logprobs.append(logprob)
        if sequence.start + len(logprobs) < len(sequence.ids):
            return None
        del self._logprobs[index]
        return Score(
            logprob=math.fsum(logprobs),
            token_ids=tuple(sequence.ids[sequence.start :]),
            token_logprobs=tuple(logprobs),
            is_greedy=index not in self._not_greedy,
        )


def _share(sequences: Sequence[ScoredSequence], alpha_of: Callable[[int], float]) -> list[_Reading]:
    """Plan the readings that yield each sequence's hidden states, those with a common prefix next to each other."""
    alphas = {length: alpha_of(length) for length in {len(sequence.ids) for sequence in sequences}}
    order = sorted(range(len(sequences)), key=lambda index: (alphas[len(sequences[index].ids)], sequences[index].ids))
    readings: list[_Reading] = []
    alpha = 0.0
    for index in order:
        ids, hidden_from = sequences[index].ids[:-1], sequences[index].start - 1
        last = readings[-1] if readings and alphas[len(sequences[index].ids)] == alpha else None
        if last is not None and _joins(last, ids, hidden_from):
            last.ids = max(last.ids, ids, key=len)
            last.hidden_from = min(last.hidden_from, hidden_from)
            last.indices.append(index)
        else:
            readings.append(_Reading(ids, hidden_from, [index]))
        alpha = alphas[len(sequences[index].ids)]
    return readings


def _joins(reading: _Reading, ids: array[int], hidden_from: int) -> bool:
    """Whether one is a prefix of the other, and joining them computes no hidden state that neither needs."""
    common = min(len(reading.ids), len(ids))
    return max(reading.hidden_from, hidden_from) <= common and reading.ids[:common] == ids[:common]
