"""Keys, values and all else that belongs to a batch of sequences, so that nothing of it lives on a module."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from qwen7b.checked import whole_number
from qwen7b.config import ModelConfig
from qwen7b.errors import PromptError, SettingError, counted, quoted
from qwen7b.memory import require_memory
from qwen7b.model.rotary import ntk_alpha

NtkMode = Literal["recompute", "original", "reserve"]
"""When dynamic NTK chooses alpha anew. "recompute": whenever the length crosses into another alpha, at the cost of
one pass over the sequence, so that step-by-step decoding equals one full pass. "original": at the first call only,
as the original did. "reserve": once, for the length planned, or else the cache's full one, never to change."""


MOST_NEW_TOKENS = 512
"""Tokens of a sequence that one pass adds to a cache: bounds the memory of a long prompt's activations."""
_SLOT_BLOCK = 128
"""A ring's slots are a multiple of it, as the native attention takes so many positions at a time."""


class Cache:
    """Keys and values of B sequences of up to S tokens, which may differ in length.

    Position p lies in slot p % slots of a layer. A layer has a slot for each position, unless it has an attention
    window: then only as many as its queries can see while a pass adds new ones, and old positions make room for new.
    Slots past `lengths[b]` hold no token; no query sees them.
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        batch_size: int,
        max_length: int,
        ntk: NtkMode = "recompute",
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        whole_number("batch_size", batch_size, least=1)
        whole_number("max_length", max_length, least=1)
        if ntk not in get_args(NtkMode):
            raise SettingError(f"ntk must be one of {', '.join(get_args(NtkMode))}, found {quoted(ntk)}")
        slots = [_num_slots(config.window(layer), max_length) for layer in range(config.num_layers)]
        layers = [self._shapes(config, batch_size=batch_size, num_slots=count, dtype=dtype) for count in slots]
        require_memory(
            sum(math.prod(shape) * kind.itemsize for shapes in layers for shape, kind in shapes.values()),
            device=torch.device(device),
            what=f"a cache of {batch_size} x {max_length} tokens",
            remedy="lower max_new_tokens, context_length or the number of sequences",
        )
        self.config = config
        self.ntk = ntk
        self.num_slots = slots
        self.layers = [
            {name: torch.zeros(shape, dtype=kind, device=device) for name, (shape, kind) in shapes.items()}
            for shapes in layers
        ]
        self.ids = torch.zeros((batch_size, max_length), dtype=torch.long)  # what a recompute starts from
        self.lengths = [0] * batch_size
        self.alphas = [1.0] * batch_size
        self.planned_lengths = [0] * batch_size

    @staticmethod
    def _shapes(
        config: ModelConfig, *, batch_size: int, num_slots: int, dtype: torch.dtype
    ) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        """Of each tensor of a layer; the axes start with B."""
        shape = (batch_size, config.num_kv_heads, num_slots, config.head_size)
        return {"keys": (shape, dtype), "values": (shape, dtype)}

    @property
    def num_bytes(self) -> int:
        return sum(tensor.nbytes for tensors in self.layers for tensor in tensors.values())

    @property
    def max_length(self) -> int:
        return self.ids.shape[1]

    def plan(self, lengths: Sequence[int]) -> None:
        """Say how long each sequence will be once its prompt is in, so that alpha is chosen once for all its chunks.

        With ntk="reserve": how long it will be at the end.
        """
        if len(lengths) != len(self.lengths):
            raise SettingError(
                f"a plan needs {counted(len(self.lengths), 'length')}, one a sequence, found {len(lengths)}"
            )
        self.planned_lengths = [whole_number("a planned length", length, least=0) for length in lengths]

    def grown_lengths(self, counts: Sequence[int]) -> list[int]:
        """Lengths after `counts` more tokens each. Raises PromptError where one does not fit."""
        grown = [length + count for length, count in zip(self.lengths, counts, strict=True)]
        if max(grown) > self.max_length:
            raise PromptError(
                f"{max(grown)} tokens do not fit a cache of {self.max_length}: make one with a larger max_length"
            )
        return grown

    def choose_alphas(self, grown: Sequence[int]) -> list[float]:
        """NTK alpha of each sequence for a pass that brings it to the length in `grown`."""
        if not self.config.dynamic_ntk:
            return [1.0] * len(grown)
        trained_length = self.config.trained_length
        if self.ntk == "reserve":
            reserved = [planned or self.max_length for planned in self.planned_lengths]
            return [ntk_alpha(length, trained_length=trained_length) for length in reserved]
        return [
            alpha if self.ntk == "original" and length else ntk_alpha(max(planned, new), trained_length=trained_length)
            for alpha, length, planned, new in zip(self.alphas, self.lengths, self.planned_lengths, grown, strict=True)
        ]

    def write(self, layer: int, key_BTKD: Tensor, value_BTKD: Tensor) -> tuple[Tensor, Tensor]:
        """Store a layer's new keys and values; returns those in all slots up to the last one used, (B, K, S, D)."""
        new, slots = key_BTKD.shape[1], self.num_slots[layer]
        assert new <= MOST_NEW_TOKENS or slots >= self.max_length
        longest = min(max(self.lengths) + new, self.max_length)
        for name, fresh_BTKD in (("keys", key_BTKD), ("values", value_BTKD)):
            fresh_BKTD = fresh_BTKD.transpose(1, 2)
            same = len(set(self.lengths)) == 1
            for row, start in enumerate(self.lengths[:1] if same else self.lengths):
                rows = slice(None) if same else slice(row, row + 1)
                done, fits = 0, min(new, self.max_length - start)  # what is cut off is padding
                while done < fits:
                    slot = (start + done) % slots
                    count = min(fits - done, slots - slot)
                    self._store(name, layer, rows, slot, fresh_BKTD[rows, :, done : done + count])
                    done += count
        end = min(longest, slots)
        return self._read("keys", layer, end), self._read("values", layer, end)

    def slot_positions(self, layer: int, written_B: Tensor) -> Tensor:
        """The position (B, S) in each of a layer's slots once the sequences are written up to `written_B`, or below 0.

        Slots are those that `write` returns.
        """
        slots = self.num_slots[layer]
        slots_S = torch.arange(min(int(written_B.max()), slots), device=written_B.device)
        last_B1 = written_B[:, None] - 1
        return last_B1 - (last_B1 - slots_S) % slots

    def _store(self, name: str, layer: int, rows: slice, start: int, fresh_BKTD: Tensor) -> None:
        self.layers[layer][name][rows, :, start : start + fresh_BKTD.shape[2]] = fresh_BKTD

    def _read(self, name: str, layer: int, end: int) -> Tensor:
        return self.layers[layer][name][:, :, :end]

    def advance(self, ids_BT: Tensor, counts: Sequence[int], alphas: Sequence[float]) -> None:
        """Count the tokens of a finished pass as held."""
        for row, (start, count) in enumerate(zip(self.lengths, counts, strict=True)):
            self.ids[row, start : start + count] = ids_BT[row, :count].cpu()
            self.lengths[row] = start + count
        self.alphas = list(alphas)

    def row(self, index: int) -> Cache:
        """A cache of one sequence that shares this one's memory, empty: to fill the sequence's slots again."""
        return self._with_rows(slice(index, index + 1))

    def select(self, rows: Sequence[int]) -> Cache:
        """A cache with copies of the sequences `rows`, in that order; a row may be named more than once."""
        chosen = self._with_rows(list(rows))
        for name in ("lengths", "alphas", "planned_lengths"):
            setattr(chosen, name, [getattr(self, name)[row] for row in rows])
        return chosen

    def _with_rows(self, rows: slice | list[int]) -> Cache:
        view = object.__new__(type(self))
        view.config, view.ntk, view.ids = self.config, self.ntk, self.ids[rows]
        view.num_slots = self.num_slots
        view.layers = [{name: tensor[rows] for name, tensor in tensors.items()} for tensors in self.layers]
        batch_size = view.ids.shape[0]
        view.lengths, view.alphas, view.planned_lengths = [0] * batch_size, [1.0] * batch_size, [0] * batch_size
        return view


def _num_slots(window: int, max_length: int) -> int:
    if not window:
        return max_length
    return min(max_length, -(-(window + MOST_NEW_TOKENS) // _SLOT_BLOCK) * _SLOT_BLOCK)
