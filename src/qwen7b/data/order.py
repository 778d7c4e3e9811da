"""The order in which a corpus is read: documents shuffled, merged and cut, as a pure function of seed, step and row.

As the original did, all documents of an epoch are put one after the other in a random order, and the whole is cut into
rows of equal length, wherever a document ends. The next epoch has another order. So a run's place in its data is one
integer, and how many ranks share the rows of a step may change in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from qwen7b.data.shards import Ids
from qwen7b.errors import SettingError


@dataclass(frozen=True, slots=True)
class DocumentPiece:
    """A part of a document: its tokens from `start` to `stop`."""

    document: int
    start: int
    stop: int


class DocumentOrder:
    """The rows of a corpus whose documents have these `lengths`, each of `length` + 1 tokens.

    The last token of a row is the first of the next one: it is only asked for, so that every token is asked for once.
    """

    def __init__(self, lengths: Ids, *, length: int, rows: int, seed: int) -> None:
        """`rows` are those of a step, on all ranks together."""
        self.lengths, self.length, self.rows, self.seed = lengths, length, rows, seed
        self.rows_per_epoch = (int(lengths.sum()) - 1) // length
        if self.rows_per_epoch < 1:
            raise SettingError(
                f"the corpus has {int(lengths.sum()):,} tokens, less than a row of {length:,} and the token after it: "
                "give more text or a smaller length"
            )
        self._epoch = lru_cache(maxsize=2)(self._shuffled)

    def pieces(self, step: int, row: int) -> list[DocumentPiece]:
        """The pieces of documents that make a row of a step, both counted from 0."""
        epoch, number = divmod(step * self.rows + row, self.rows_per_epoch)
        documents, ends = self._epoch(epoch)
        place, stop = number * self.length, (number + 1) * self.length + 1
        pieces = []
        at = int(np.searchsorted(ends, place, side="right"))
        while place < stop:
            begin = int(ends[at] - self.lengths[documents[at]])
            until = min(stop, int(ends[at]))
            pieces.append(DocumentPiece(int(documents[at]), place - begin, until - begin))
            place, at = until, at + 1
        return pieces

    def _shuffled(self, epoch: int) -> tuple[Ids, Ids]:
        """The documents of an epoch in their order, and where each ends in it."""
        documents = np.random.default_rng([self.seed, epoch]).permutation(len(self.lengths))
        return documents, np.cumsum(self.lengths[documents])
