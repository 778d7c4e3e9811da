"""The ids and stop words that end a generation, and the ids that it never produces, as Transformers needs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache
from torch import Tensor
from transformers import LogitsProcessor, StoppingCriteria

from qwen7b.checkpoint.chat_verdict import find_endings
from qwen7b.checkpoint.generation_settings import folder_generation
from qwen7b.errors import Qwen7bError, SettingError, quoted
from qwen7b.system.json_file import read_json_if_any
from qwen7b.text import load_tokenizer


def read_endings(name: str, **hub: Any) -> frozenset[int]:
    """The ids that end a reply according to the files of a folder, or of a name in the hub's cache.

    generation_config.json is left out: Transformers reads it itself, and callers may change what it says. The result
    is empty without a readable tokenizer; loading the tokenizer will report what is wrong.
    """
    folder = Path(name)
    if not folder.is_dir():
        cached = (try_to_load_from_cache(name, file, **hub) for file in ("qwen.tiktoken", "tokenizer.json"))
        cached_file = next((path for path in cached if isinstance(path, str)), None)
        if cached_file is None:
            return frozenset()
        folder = Path(cached_file).parent
    try:
        generation = folder_generation(folder, read_json_if_any(folder / "config.json"))
        return frozenset(find_endings(replace(generation, endings={}), load_tokenizer(folder)))
    except Qwen7bError:
        return frozenset()


def listed_ids(ids: int | list[int] | None) -> list[int]:
    """The `eos_token_id` of a generation config, which may be one id, several or None, as a list."""
    return [] if ids is None else [ids] if isinstance(ids, int) else list(ids)


class StopWords(StoppingCriteria):
    """Stops a sequence once its generated tokens end with one of the given sequences of ids."""

    def __init__(self, stop_words_ids: Sequence[Sequence[int]], *, prompt_length: int) -> None:
        try:
            if isinstance(stop_words_ids, str) or any(isinstance(word, str) for word in stop_words_ids):
                raise TypeError
            self.words = [torch.tensor([int(token_id) for token_id in word]) for word in stop_words_ids]
        except (TypeError, ValueError):
            self.words = []
        if not self.words or not all(len(word) for word in self.words):
            raise SettingError(
                f"stop_words_ids must be sequences of ids, none of them empty, found {quoted(stop_words_ids)}: encode "
                "each word, as in [tokenizer.encode('Observation:')]"
            )
        self.prompt_length = prompt_length

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        stopped = torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
        generated = input_ids[:, self.prompt_length :]
        for word in self.words:
            if generated.shape[1] >= len(word):
                stopped |= (generated[:, -len(word) :] == word.to(generated.device)).all(-1)
        return stopped


class OnlyTokens(LogitsProcessor):
    """Excludes the embedding's rows past the vocabulary, which stand for no token."""

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        scores = scores.clone()
        scores[:, self.vocab_size :] = -torch.inf
        return scores
