"""Rows of an embedding or a head for tokens that a model has never seen."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from qwen7b.files.stored import StoredTensor, row_blocks
from qwen7b.vocab.row_initials import Initial


def new_rows(
    base: StoredTensor, parts: Sequence[Sequence[int]], *, initial: Initial, num_used: int, seed: int = 0
) -> Tensor:
    """(tokens, columns) float32: a row for each new token, out of the first `num_used` rows of a matrix.

    `parts` are the ids of each token's parts: what its bytes were encoded as before.
    """
    columns = base.shape[1]
    if initial is Initial.ZERO:
        return torch.zeros(len(parts), columns)
    if initial is Initial.RANDOM:
        mean, deviation = _column_statistics(base, num_used)
        noise = torch.randn(len(parts), columns, generator=torch.Generator().manual_seed(seed))
        return mean + deviation * noise
    rows = _rows_of(base, sorted({id for ids in parts for id in ids}))
    means = torch.stack([torch.stack([rows[id] for id in ids]).mean(0) for ids in parts])
    if initial is Initial.MEAN:
        return means
    lengths = torch.tensor([sum(float(rows[id].norm()) for id in ids) / len(ids) for ids in parts])
    # A mean of zero has no direction to be made longer in.
    scales: Tensor = lengths / means.norm(dim=1).clamp(min=torch.finfo(torch.float32).tiny)
    return means * scales[:, None]


def _rows_of(base: StoredTensor, ids: Sequence[int]) -> dict[int, Tensor]:
    """The rows with these ids, which are sorted; of the others no more than a block is in memory."""
    rows, wanted = {}, iter(ids)
    id = next(wanted, None)
    for start, block in row_blocks(base):
        while id is not None and id < start + len(block):
            rows[id] = block[id - start].float()
            id = next(wanted, None)
        if id is None:
            break
    return rows


def _column_statistics(base: StoredTensor, num_used: int) -> tuple[Tensor, Tensor]:
    """The mean and the standard deviation of each column over the first rows."""
    total = torch.zeros(base.shape[1], dtype=torch.float64)
    squares = torch.zeros_like(total)
    for start, block in row_blocks(base):
        used = block[: max(num_used - start, 0)].double()
        total += used.sum(0)
        squares += used.square().sum(0)
    mean = total / num_used
    return mean.float(), (squares / num_used - mean.square()).clamp(min=0).sqrt().float()
