"""The rows of one pass: the new tokens of some sequences, one sequence after the other, without padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby

import torch
from torch import Tensor

from qwen7b.config import ModelConfig
from qwen7b.config.rotary_scaling import RotaryScaling
from qwen7b.model.adapter_weights import AdaptedRows, AdapterWeights
from qwen7b.model.rotary import logn_scale, rotary_frequencies, rotary_tables


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Neighbouring sequences with the same number of new tokens, whose attention is computed together.

    G sequences of T tokens are G · T rows, sequence after sequence. With a cache each sequence is a group of its own.
    """

    first_sequence: int
    num_sequences: int
    rows: slice
    """The rows of the pass."""
    start: int
    """The position of each sequence's first new token."""
    num_new: int

    def cut(self, rows: Tensor) -> Tensor:
        """This group's part (G, T, ...) of a tensor with a row for each row of the pass, (R, ...)."""
        return rows[self.rows].view(self.num_sequences, self.num_new, *rows.shape[1:])


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """R tokens, each with its sequence and its position there. Tensors that control flow depends on are on the CPU.

    ids, sequences, positions  (R) on the CPU; the latter two int32
    cos, sin                   (R, 1, D) float32, of the rotary angles
    query_scale                (R, 1, 1), LogN factors, or None where all are 1
    windows                    the attention window of each layer, 0 for none
    adapted                    the rows of each adapter that sequences have
    masks                      the mask of each group in each kind of layer, once computed: see `attention_mask`
    """

    ids: Tensor
    sequences: Tensor
    positions: Tensor
    groups: tuple[Group, ...]
    cos: Tensor
    sin: Tensor
    query_scale: Tensor | None
    windows: tuple[int, ...]
    adapted: tuple[AdaptedRows, ...] = ()
    masks: dict[object, Tensor] = field(default_factory=dict)

    def adapt(self, y: Tensor, x: Tensor, *, layer: int, module: str) -> Tensor:
        """The outputs y (R, ...) of a linear module for inputs x (R, ...), with what adapters add to their rows."""
        for rows in self.adapted:
            rows.add(y, x, layer=layer, module=module)
        return y

    def last(self) -> dict[int, int]:
        """The row of the last new token of each sequence that has one."""
        return {
            group.first_sequence + number: group.rows.start + (number + 1) * group.num_new - 1
            for group in self.groups
            for number in range(group.num_sequences)
        }


def make_rows(
    config: ModelConfig,
    new_ids: Sequence[Tensor],
    *,
    starts: Sequence[int],
    alphas: Sequence[float],
    adapters: Sequence[AdapterWeights | None] = (),
    device: torch.device,
    cached: bool,
    training: bool = False,
) -> Rows:
    """Make the rows for new ids (T,) of each sequence, which begin at position `starts`; a sequence may have none.

    Unless they are `cached`, neighbours with the same start and the same number of new tokens make a group. `adapters`
    has each sequence's adapter; none where no sequence has one.
    """
    # Of a decoding step's few rows, lists are made sooner than tensors by several operations each.
    counts = [ids.shape[0] for ids in new_ids]
    row_sequences = [number for number, count in enumerate(counts) for _ in range(count)]
    sequences = torch.tensor(row_sequences, dtype=torch.int32)
    row_positions = [p for start, count in zip(starts, counts, strict=True) for p in range(start, start + count)]
    positions = torch.tensor(row_positions, dtype=torch.int32)
    kind = config.rope_base, config.head_size, config.rotary_scaling, device
    frequencies = torch.cat([_frequencies(alpha, *kind) for alpha in alphas])
    device_positions = positions.to(device)
    cos, sin = rotary_tables(device_positions, frequencies[sequences.to(device)], scaling=config.rotary_scaling)
    query_scale = None
    if config.logn and not training and int(positions.max()) >= config.trained_length:
        query_scale = logn_scale(device_positions, trained_length=config.trained_length)
    return Rows(
        ids=torch.cat(list(new_ids)),
        sequences=sequences,
        positions=positions,
        groups=tuple(_groups(counts, starts, cached=cached)),
        cos=cos,
        sin=sin,
        query_scale=query_scale,
        windows=tuple(config.window(layer) for layer in range(config.num_layers)),
        adapted=tuple(_adapted(row_sequences, adapters, device=device)),
    )


@lru_cache(maxsize=64)
def _frequencies(
    alpha: float, base: float, head_size: int, scaling: RotaryScaling | None, device: torch.device
) -> Tensor:
    """The rotary frequencies (1, D/2), which are the same at every step of a sequence; they must not be changed."""
    return rotary_frequencies([alpha], base=base, head_size=head_size, scaling=scaling, device=device)


def _adapted(
    row_sequences: Sequence[int], adapters: Sequence[AdapterWeights | None], *, device: torch.device
) -> Iterator[AdaptedRows]:
    for adapter in dict.fromkeys(adapters):
        if adapter is not None:
            numbers = [row for row, sequence in enumerate(row_sequences) if adapters[sequence] is adapter]
            if numbers:
                yield AdaptedRows(numbers=torch.tensor(numbers, device=device), adapter=adapter)


def _groups(counts: Sequence[int], starts: Sequence[int], *, cached: bool) -> Iterator[Group]:
    def kind(number: int) -> tuple[int, ...]:
        return counts[number], starts[number], number if cached else -1

    first_row = 0
    for (num_new, start, _), members in groupby(range(len(counts)), key=kind):
        numbers = list(members)
        num_rows = num_new * len(numbers)
        if num_new:
            yield Group(
                first_sequence=numbers[0],
                num_sequences=len(numbers),
                rows=slice(first_row, first_row + num_rows),
                start=start,
                num_new=num_new,
            )
        first_row += num_rows
