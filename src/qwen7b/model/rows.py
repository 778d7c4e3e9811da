"""The rows of one pass: the new tokens of some sequences, one sequence after the other, without padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import torch
from torch import Tensor

from qwen7b.config import ModelConfig
from qwen7b.model.rotary import logn_scale, rotary_frequencies, rotary_tables


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Neighbouring sequences with the same number of new tokens, whose attention is computed together.

    G sequences of T tokens are G · T rows, sequence after sequence.
    """

    sequences: slice
    """The sequences' indices in the cache."""
    rows: slice
    """The rows of the pass."""
    starts: tuple[int, ...]
    """The position of each sequence's first new token."""
    num_new: int

    @property
    def longest(self) -> int:
        """The length of the longest sequence, the new tokens included."""
        return max(self.starts) + self.num_new

    def cut(self, rows: Tensor) -> Tensor:
        """This group's part (G, T, ...) of a tensor with a row for each row of the pass, (R, ...)."""
        return rows[self.rows].view(len(self.starts), self.num_new, *rows.shape[1:])


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """R tokens, each with its sequence and its position there. Tensors that control flow depends on are on the CPU.

    ids, sequences, positions  (R) on the CPU; the latter two int32
    cos, sin                   (R, 1, D) float32, of the rotary angles
    query_scale                (R, 1, 1), LogN factors, or None where all are 1
    windows                    the attention window of each layer, 0 for none
    masks                      the masks of each kind of layer, once computed: see `attention_masks`
    """

    ids: Tensor
    sequences: Tensor
    positions: Tensor
    groups: tuple[Group, ...]
    cos: Tensor
    sin: Tensor
    query_scale: Tensor | None
    windows: tuple[int, ...]
    masks: dict[object, list[Tensor | None]] = field(default_factory=dict)

    def last(self) -> dict[int, int]:
        """The row of the last new token of each sequence that has one."""
        return {
            sequence: group.rows.start + number * group.num_new - 1
            for group in self.groups
            for number, sequence in enumerate(range(group.sequences.start, group.sequences.stop), start=1)
        }


def make_rows(
    config: ModelConfig,
    new_ids: Sequence[Tensor],
    *,
    starts: Sequence[int],
    alphas: Sequence[float],
    device: torch.device,
    training: bool = False,
) -> Rows:
    """Make the rows for new ids (T,) of each sequence, which begin at position `starts`; a sequence may have none."""
    counts = torch.tensor([len(ids) for ids in new_ids])
    sequences = torch.arange(len(counts), dtype=torch.int32).repeat_interleave(counts)
    positions = torch.cat(
        [torch.arange(start, start + len(ids), dtype=torch.int32) for start, ids in zip(starts, new_ids, strict=True)]
    )
    frequencies = rotary_frequencies(
        alphas, base=config.rope_base, head_size=config.head_size, scaling=config.rotary_scaling, device=device
    )
    device_positions = positions.to(device)
    cos, sin = rotary_tables(device_positions, frequencies[sequences.to(device)], scaling=config.rotary_scaling)
    query_scale = None
    if config.logn and not training and int(positions.max()) >= config.trained_length:
        query_scale = logn_scale(device_positions, trained_length=config.trained_length)
    return Rows(
        ids=torch.cat(list(new_ids)),
        sequences=sequences,
        positions=positions,
        groups=tuple(_groups(counts.tolist(), starts)),
        cos=cos,
        sin=sin,
        query_scale=query_scale,
        windows=tuple(config.window(layer) for layer in range(config.num_layers)),
    )


def _groups(counts: Sequence[int], starts: Sequence[int]) -> Iterator[Group]:
    first_row = 0
    for num_new, members in groupby(range(len(counts)), key=counts.__getitem__):
        numbers = list(members)
        num_rows = num_new * len(numbers)
        if num_new:
            yield Group(
                sequences=slice(numbers[0], numbers[-1] + 1),
                rows=slice(first_row, first_row + num_rows),
                starts=tuple(starts[number] for number in numbers),
                num_new=num_new,
            )
        first_row += num_rows
