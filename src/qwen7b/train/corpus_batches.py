"""Micro-batches of a corpus of token shards: rows of equal length, or each document's part of a row on its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from qwen7b.data.order import DocumentOrder
from qwen7b.data.shards import Shards
from qwen7b.train.micro_batch import NO_TARGET, MicroBatch, shared_out


class CorpusBatches:
    """The micro-batches of a step, of which each rank has its own."""

    def __init__(
        self,
        shards: Shards,
        order: DocumentOrder,
        *,
        micro_rows: int,
        mask_documents: bool = False,
        rank: int = 0,
        num_ranks: int = 1,
    ) -> None:
        """With `mask_documents` attention stops at the beginning of a document."""
        self.shards, self.order = shards, order
        self.micro_rows, self.mask_documents = micro_rows, mask_documents
        self.rank, self.num_ranks = rank, num_ranks

    def __call__(self, step: int) -> Sequence[MicroBatch]:
        return shared_out(
            self.order.rows // self.micro_rows,
            lambda number: self._micro_batch(step, number),
            rank=self.rank,
            num_ranks=self.num_ranks,
        )

    def _micro_batch(self, step: int, number: int) -> MicroBatch:
        rows = range(number * self.micro_rows, (number + 1) * self.micro_rows)
        sequences: list[Tensor] = []
        targets: list[Tensor] = []
        for row in rows:
            for ids in self._row(step, row):
                sequences.append(ids[:-1])
                targets.append(ids[1:])
        return MicroBatch(sequences=tuple(sequences), targets=torch.cat(targets))

    def _row(self, step: int, row: int) -> list[Tensor]:
        """The sequences of a row, each with the token after its last one."""
        parts = [
            torch.from_numpy(self.shards.read(piece.document, piece.start, piece.stop))
            for piece in self.order.pieces(step, row)
        ]
        if not self.mask_documents:
            return [torch.cat(parts)]
        # What follows the end of a document cannot be told from it.
        nothing = torch.tensor([NO_TARGET])
        whole = [torch.cat([part, nothing]) for part in parts[:-1]]
        return [*whole, parts[-1]] if len(parts[-1]) > 1 else whole
