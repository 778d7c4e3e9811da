"""What ends a generation, and which ids it never produces, in Transformers' terms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor, StoppingCriteria

from qwen7b.errors import SettingError


class StopWords(StoppingCriteria):
    """Ends a sequence once the tokens made after its prompt end in one of the given sequences of ids."""

    def __init__(self, stop_words_ids: Sequence[Sequence[int]], *, prompt_length: int) -> None:
        if any(isinstance(word, int) or len(word) == 0 for word in stop_words_ids):
            raise SettingError(f"stop_words_ids must be sequences of ids, none of them empty, found {stop_words_ids!r}")
        self.words = [torch.tensor(list(word)) for word in stop_words_ids]
        self.prompt_length = prompt_length

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        stopped = torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
        made = input_ids[:, self.prompt_length :]
        for word in self.words:
            if made.shape[1] >= len(word):
                stopped |= (made[:, -len(word) :] == word.to(made.device)).all(-1)
        return stopped


class OnlyTokens(LogitsProcessor):
    """Rules out the embedding's rows past the vocabulary, which stand for no token."""

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        scores = scores.clone()
        scores[:, self.vocab_size :] = -torch.inf
        return scores
