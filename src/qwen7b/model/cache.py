"""Keys, values and everything else that belongs to a batch of sequences: nothing of it is stored on a module."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor

from qwen7b.config import ModelConfig
from qwen7b.config.checked import whole_number
from qwen7b.errors import PromptError, SettingError, counted, quoted
from qwen7b.kernels.constants import CHUNK
from qwen7b.model.rotary import ntk_alpha
from qwen7b.model.rows import Group
from qwen7b.system.memory import require_memory

NtkMode = Literal["recompute", "original", "reserve"]
"""When dynamic NTK chooses alpha. "recompute": whenever the length crosses into another alpha, at the cost of one
pass over the sequence, so that step-by-step decoding equals one full pass. "original": at the first call only, as the
original did. "reserve": once and for all, for the planned length or else for the cache's full length."""


MAX_NEW_TOKENS = 512
"""The most tokens of a sequence that one pass adds to a cache, which bounds the memory of a prompt's activations."""


class Cache:
    """Keys and values of B sequences of up to S tokens, which may differ in length.

    Position p lies in slot p % slots of a layer. A layer has a slot for each position, unless it has an attention
    window: then it has only as many as its queries can see while a pass adds new ones, and new positions overwrite old.
    Slots past `lengths[b]` hold no token; no query sees them.

    layers  tensors of each layer by name, whose axes start with B; see `empty` for new ones
    ids     (B, S) the tokens in the cache, from which sequences are recomputed
    """

    def __init__(
        self, config: ModelConfig, *, layers: Sequence[dict[str, Tensor]], ids: Tensor, ntk: NtkMode = "recompute"
    ) -> None:
        batch_size, max_length = ids.shape
        self.config = config
        self.ntk = ntk
        self.num_slots = slots_of_layers(config, max_length)
        self.max_new_tokens = MAX_NEW_TOKENS
        self.layers = list(layers)
        self.ids = ids
        self.lengths = [0] * batch_size
        self.alphas = [1.0] * batch_size
        self.planned_lengths = [0] * batch_size

    @classmethod
    def empty(
        cls,
        config: ModelConfig,
        *,
        batch_size: int,
        max_length: int,
        ntk: NtkMode = "recompute",
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        **options: Any,
    ) -> Self:
        """A cache for new sequences; `options` go to the constructor. Raises ResourceError if memory is short."""
        whole_number("batch_size", batch_size, minimum=1)
        whole_number("max_length", max_length, minimum=1)
        if ntk not in get_args(NtkMode):
            raise SettingError(f"ntk must be one of {', '.join(get_args(NtkMode))}, found {quoted(ntk)}")
        layers = [
            cls._shapes(config, batch_size=batch_size, num_slots=num_slots, dtype=dtype)
            for num_slots in slots_of_layers(config, max_length)
        ]
        require_memory(
            sum(
                math.prod(shape) * tensor_dtype.itemsize for shapes in layers for shape, tensor_dtype in shapes.values()
            ),
            device=torch.device(device),
            what=f"a cache of {batch_size} x {max_length} tokens",
            remedy="lower max_new_tokens, context_length or the number of sequences",
        )
        return cls(
            config,
            layers=[
                {
                    name: torch.zeros(shape, dtype=tensor_dtype, device=device)
                    for name, (shape, tensor_dtype) in shapes.items()
                }
                for shapes in layers
            ],
            ids=torch.zeros((batch_size, max_length), dtype=torch.long),
            ntk=ntk,
            **options,
        )

    @staticmethod
    def _shapes(
        config: ModelConfig, *, batch_size: int, num_slots: int, dtype: torch.dtype
    ) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        """The shape and type of each tensor of a layer; the axes start with B."""
        shape = (batch_size, config.num_kv_heads, num_slots, config.head_size)
        return {"keys": (shape, dtype), "values": (shape, dtype)}

    @property
    def num_bytes(self) -> int:
        return sum(tensor.nbytes for tensors in self.layers for tensor in tensors.values())

    @property
    def max_length(self) -> int:
        return self.ids.shape[1]

    def plan(self, lengths: Sequence[int]) -> None:
        """Set how long each sequence will be with its whole prompt, so that alpha is chosen once for all its chunks.

        With ntk="reserve" it is the length at the very end, with the reply.
        """
        if len(lengths) != len(self.lengths):
            raise SettingError(
                f"a plan needs {counted(len(self.lengths), 'length')}, one a sequence, found {len(lengths)}"
            )
        self.planned_lengths = [whole_number("a planned length", length, minimum=0) for length in lengths]

    def lengths_after(self, counts: Sequence[int]) -> list[int]:
        """The sequences' lengths after `counts` more tokens each. Raises PromptError if one does not fit."""
        new_lengths = [length + count for length, count in zip(self.lengths, counts, strict=True)]
        if max(new_lengths) > self.max_length:
            raise PromptError(
                f"{max(new_lengths)} tokens do not fit a cache of {self.max_length}: make one with a larger max_length"
            )
        return new_lengths

    def choose_alphas(self, new_lengths: Sequence[int]) -> list[float]:
        """The NTK alpha of each sequence for a pass after which it has the length in `new_lengths`."""
        if not self.config.dynamic_ntk:
            return [1.0] * len(new_lengths)
        trained_length = self.config.trained_length
        if self.ntk == "reserve":
            reserved = [planned or self.max_length for planned in self.planned_lengths]
            return [ntk_alpha(length, trained_length=trained_length) for length in reserved]
        return [
            alpha
            if self.ntk == "original" and length
            else ntk_alpha(max(planned, new_length), trained_length=trained_length)
            for alpha, length, planned, new_length in zip(
                self.alphas, self.lengths, self.planned_lengths, new_lengths, strict=True
            )
        ]

    def write(self, layer: int, group: Group, key_GKTD: Tensor, value_GKTD: Tensor) -> tuple[Tensor, Tensor]:
        """Store the new keys and values of a group's sequences in a layer.

        Returns the keys and values in all slots up to the last one used, (G, K, S, D).
        """
        slots, end = self.num_slots[layer], min(group.longest, self.num_slots[layer])
        assert group.num_new <= self.max_new_tokens or slots >= self.max_length
        first = group.sequences.start
        same_start = len(set(group.starts)) == 1
        for name, new_GKTD in (("keys", key_GKTD), ("values", value_GKTD)):
            for member, start in enumerate(group.starts[:1] if same_start else group.starts):
                members = slice(None) if same_start else slice(member, member + 1)
                sequences = group.sequences if same_start else slice(first + member, first + member + 1)
                done = 0
                while done < group.num_new:
                    slot = (start + done) % slots
                    count = min(group.num_new - done, slots - slot)
                    self._store(name, layer, sequences, slot, new_GKTD[members, :, done : done + count])
                    done += count
        return self._read("keys", layer, group.sequences, end), self._read("values", layer, group.sequences, end)

    def slot_positions(self, layer: int, written_B: Tensor) -> Tensor:
        """The position (B, S) in each of a layer's slots once the sequences are written up to `written_B`.

        An empty slot has a position below 0. The slots are those that `write` returns.
        """
        slots = self.num_slots[layer]
        slots_S = torch.arange(min(int(written_B.max()), slots), device=written_B.device)
        last_B1 = written_B[:, None] - 1
        return last_B1 - (last_B1 - slots_S) % slots

    def _store(self, name: str, layer: int, sequences: slice, start: int, new_GKTD: Tensor) -> None:
        self.layers[layer][name][sequences, :, start : start + new_GKTD.shape[2]] = new_GKTD

    def _read(self, name: str, layer: int, sequences: slice, end: int) -> Tensor:
        return self.layers[layer][name][sequences, :, :end]

    def advance(self, new_ids: Sequence[Tensor], alphas: Sequence[float]) -> None:
        """Record the tokens of a finished pass, (T,) of each sequence, as part of the cache."""
        for row, (start, ids) in enumerate(zip(self.lengths, new_ids, strict=True)):
            self.ids[row, start : start + len(ids)] = ids
            self.lengths[row] = start + len(ids)
        self.alphas = list(alphas)

    def row(self, index: int) -> Self:
        """An empty cache of one sequence that shares this one's memory, in order to fill the sequence's slots again."""
        return self._with_rows(slice(index, index + 1))

    def select(self, rows: Sequence[int]) -> Self:
        """A cache with copies of the sequences `rows`, in that order; a row may occur more than once."""
        copy = self._with_rows(list(rows))
        for name in ("lengths", "alphas", "planned_lengths"):
            setattr(copy, name, [getattr(self, name)[row] for row in rows])
        return copy

    def _with_rows(self, rows: slice | list[int], **options: Any) -> Self:
        layers = [{name: tensor[rows] for name, tensor in tensors.items()} for tensors in self.layers]
        return type(self)(self.config, layers=layers, ids=self.ids[rows], ntk=self.ntk, **options)


def choose_cache_dtype(requested: torch.dtype | None, choices: Sequence[torch.dtype]) -> torch.dtype:
    """The requested dtype, by default the first of the choices. Raises SettingError for one that is no choice."""
    if requested is not None and requested not in choices:
        raise SettingError(f"this model's cache_dtype must be {' or '.join(map(str, choices))}, found {requested}")
    return requested or choices[0]


def slots_of_layers(config: ModelConfig, max_length: int) -> list[int]:
    """How many slots each layer needs for sequences of up to `max_length` tokens."""
    return [_num_slots(config.window(layer), max_length) for layer in range(config.num_layers)]


def _num_slots(window: int, max_length: int) -> int:
    if not window:
        return max_length
    # A ring buffer is a whole number of chunks, since the native attention takes that many positions at once.
    return min(max_length, -(-(window + MAX_NEW_TOKENS) // CHUNK) * CHUNK)
