"""`Scorer`: the part of `Qwen` that reads and does not reply."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import chain

import torch
from torch import Tensor

from qwen7b.generate.continuations import Text, TextReader
from qwen7b.generate.hidden_states import mean_hidden
from qwen7b.generate.reply import Score
from qwen7b.generate.scoring import ScoredSequence, Scoring
from qwen7b.generate.shared_engine import SharedEngine
from qwen7b.model import Transformer
from qwen7b.text import Tokenizer


class Scorer(ABC):
    """Computes how likely texts are, and vectors to compare them by."""

    model: Transformer
    tokenizer: Tokenizer
    context_length: int

    @property
    @abstractmethod
    def _shared(self) -> SharedEngine:
        """The engine that reads the texts."""

    def score(
        self,
        contexts: Sequence[Text],
        continuations: Sequence[Sequence[Text]],
        *,
        control_tokens: bool | None = None,
        adapter: str | None = None,
    ) -> list[list[Score]]:
        """The log-probability of each of a context's continuations, for any number of contexts.

        `continuations[i]` are those of `contexts[i]`, and so are the scores. A common prefix of contexts is
        read once, as is a context for all of its continuations; each score is that of the continuation by itself.

        A context and a continuation that are texts are encoded as one text. The continuation's tokens begin where that
        differs from the context encoded by itself: of "Answer:" and " B", and of "Answer: " and "B", the last token is
        " B". To encode them apart, give one of them as token ids, which are taken as they are. An empty context is BOS.
        `control_tokens` and `adapter` are those of `complete`. Raises PromptError for a continuation that is empty,
        that has no token before it, or that exceeds the context length.

        >>> (scores,) = qwen.score(["1+1="], [["2", "3"]])  # doctest: +SKIP
        >>> scores[0].logprob > scores[1].logprob           # doctest: +SKIP
        True
        """
        reader = TextReader(self.tokenizer, context_length=self.context_length, control_tokens=control_tokens)
        groups = list(reader.pairs(contexts, continuations))
        scores = dict(self._scored_groups(groups, adapter=adapter))
        return [scores[index] for index in range(len(groups))]

    def stream_scores(
        self,
        contexts: Sequence[Text],
        continuations: Sequence[Sequence[Text]],
        *,
        control_tokens: bool | None = None,
        adapter: str | None = None,
    ) -> Iterator[tuple[int, list[Score]]]:
        """Like `score`, but yields each context's index and scores as they are done, in any order."""
        reader = TextReader(self.tokenizer, context_length=self.context_length, control_tokens=control_tokens)
        return self._scored_groups(list(reader.pairs(contexts, continuations)), adapter=adapter)

    def scoring(self, sequences: Sequence[ScoredSequence], *, adapter: str | None = None) -> Scoring:
        """The scores in the making of sequences of token ids, which are taken as they are.

        A sequence may have one id more than the context length, as its last id is scored and never read.
        """
        return Scoring(self._shared, sequences, adapter=adapter)

    def _scored_groups(
        self, groups: Sequence[Sequence[ScoredSequence]], *, adapter: str | None
    ) -> Iterator[tuple[int, list[Score]]]:
        owners = [(index, place) for index, group in enumerate(groups) for place in range(len(group))]
        done: dict[int, dict[int, Score]] = {index: {} for index in range(len(groups))}
        yield from ((index, []) for index, group in enumerate(groups) if not group)
        with closing(self.scoring([*chain.from_iterable(groups)], adapter=adapter).stream()) as scores:
            for number, score in scores:
                index, place = owners[number]
                done[index][place] = score
                if len(done[index]) == len(groups[index]):
                    own = done.pop(index)
                    yield index, [own[place] for place in sorted(own)]

    def embed(self, texts: Sequence[Text], *, control_tokens: bool | None = None, adapter: str | None = None) -> Tensor:
        """A vector for each text, (N, C) float32 on the CPU: the mean of its hidden states, of length 1.

        The model was not trained for it: texts of like content have like vectors, but a model that was trained to embed
        texts tells them apart far better. Token ids are taken as they are. Raises PromptError for an empty text, and
        for one that is longer than the context.
        """
        reader = TextReader(self.tokenizer, context_length=self.context_length, control_tokens=control_tokens)
        sequences = reader.texts(texts)
        means = torch.zeros(len(sequences), self.model.config.hidden_size, dtype=torch.float64)
        for index, mean_C in mean_hidden(self._shared, sequences, adapter=adapter):
            means[index] = mean_C
        return torch.nn.functional.normalize(means, dim=-1).float()
