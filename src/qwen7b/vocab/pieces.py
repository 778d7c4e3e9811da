"""The pieces of a corpus, counted: what the tokenizer's pattern cuts its text into. No token ever spans two of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import itemgetter

import regex

from qwen7b.text import Tokenizer
from qwen7b.text.normalization import to_nfc

MAX_PIECE_BYTES = 1000
"""Pieces that are longer are not learned from: they are data in letters, such as base64, and slow to merge."""


@dataclass(slots=True)
class PieceCounts:
    """The different pieces of texts with how often each occurs, and the size of what was read."""

    counts: Counter[str] = field(default_factory=Counter)
    texts: int = 0
    characters: int = 0
    bytes: int = 0

    @property
    def total(self) -> int:
        return self.counts.total()


def count_pieces(texts: Iterable[str], tokenizer: Tokenizer) -> PieceCounts:
    """Cut texts as the tokenizer does, normalized as it does, and count the pieces; one text is in memory at a time."""
    vocabulary, found = tokenizer.vocabulary, PieceCounts()
    pattern, whole_match = regex.compile(vocabulary.pattern), itemgetter(0)
    for text in texts:
        found.texts += 1
        found.characters += len(text)
        found.bytes += len(text.encode())
        found.counts.update(map(whole_match, pattern.finditer(to_nfc(text) if vocabulary.nfc else text)))
    return found
