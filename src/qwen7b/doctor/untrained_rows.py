"""Control tokens that a model was never trained on, seen by their rows of the embedding and the head.

A row that was never a target follows all other such rows, so that they are the same but for rounding; where weights
decay and nothing pulls, a row shrinks to nothing; and a row that was put in later is as if drawn, while trained rows
share a direction. Models that learned to chat have none of this in the rows of their chat format.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from qwen7b.checkpoint.checkpoint import Checkpoint
from qwen7b.checkpoint.parameters import parameters_of
from qwen7b.files.stored import StoredTensor
from qwen7b.text import Tokenizer
from qwen7b.text.chatml import END, START, ChatML

_SAMPLED, _UNUSED = 256, 32
"""The ordinary rows that are looked at, and the rows that no token has."""
_SAME = 0.999
"""The cosine from which two rows are the same."""
_SMALL = 0.1
"""The share of the usual length below which a row has shrunk."""
_SHARED = 0.2
"""The cosine with their mean that ordinary rows have where they share a direction."""


def chat_controls(tokenizer: Tokenizer) -> dict[str, int]:
    """The control tokens that a tokenizer's chat format opens and closes messages with, and their ids."""
    format = tokenizer.chat_format
    names = {START, END} if isinstance(format, ChatML) else format.ends if format is not None else frozenset[str]()
    return {name: id for name, id in tokenizer.control_tokens.items() if name in names}


def untrained_controls(checkpoint: Checkpoint, tokenizer: Tokenizer) -> list[str]:
    """The names of those control tokens of the chat format whose rows look untrained, in the embedding or the head."""
    parameters = parameters_of(checkpoint)
    controls = chat_controls(tokenizer)
    untrained = set()
    for parameter in ("embedding.weight", "head.weight"):
        if controls and parameter in parameters:
            untrained |= _look_untrained(parameters[parameter], controls, tokenizer)
    return [name for name in controls if name in untrained]


def _look_untrained(weight: StoredTensor, controls: dict[str, int], tokenizer: Tokenizer) -> set[str]:
    random = torch.Generator().manual_seed(0)
    count = min(_SAMPLED, tokenizer.vocab_size)
    ordinary = _rows(weight, torch.randperm(tokenizer.vocab_size, generator=random)[:count].tolist())
    unused = _rows(weight, [*range(tokenizer.vocab_size, min(tokenizer.vocab_size + _UNUSED, weight.shape[0]))])
    usual, mean = ordinary.norm(dim=1).median(), ordinary.mean(0)
    shares_direction = F.cosine_similarity(ordinary, mean[None]).median() > _SHARED
    found = set()
    for name, id in controls.items():
        row = _rows(weight, [id])
        is_same = len(unused) > 1 and bool((F.cosine_similarity(unused, row) > _SAME).all())
        has_shrunk = bool(row.norm() < _SMALL * usual)
        # Of a random row the cosine with any direction has a standard deviation of 1 / sqrt(size).
        is_random = abs(F.cosine_similarity(row, mean[None]).item()) < 3 / math.sqrt(row.shape[1])
        if is_same or has_shrunk or (shares_direction and is_random):
            found.add(name)
    return found


def _rows(weight: StoredTensor, ids: list[int]) -> Tensor:
    return torch.cat([weight.read_rows(id, id + 1).float() for id in ids]) if ids else torch.zeros(0, weight.shape[1])
