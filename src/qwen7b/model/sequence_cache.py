"""Keys, values and everything else that belongs to one sequence: nothing of it is stored on a module."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor

from qwen7b.config import ModelConfig
from qwen7b.config.checked import whole_number
from qwen7b.errors import SettingError, quoted
from qwen7b.kernels.constants import CHUNK
from qwen7b.model.adapter_weights import AdapterWeights
from qwen7b.model.rotary import ntk_alpha
from qwen7b.system.memory import require_memory, zeroed_memory

NtkMode = Literal["recompute", "original", "reserve"]
"""When dynamic NTK chooses alpha. "recompute": whenever the length crosses into another alpha, at the cost of one
pass over the sequence, so that step-by-step decoding equals one full pass. "original": at the first call only, as the
original did. "reserve": once and for all, for the planned length or else for the cache's full length."""


MAX_PASS_TOKENS = 512
"""The most tokens of a sequence that one pass adds to a cache, which bounds the memory of a prompt's activations."""
_CACHE_LINE = 64
"""Bytes: a load of the kernels' that crosses from one cache line into the next is slower."""


class SequenceCache:
    """Keys and values of one sequence of up to `capacity` tokens.

    Position p lies in slot p % slots of a layer. A layer has a slot for each position, unless it has an attention
    window: then it has only as many as its queries can see while a pass adds new ones, a ring in which new positions
    overwrite old. Slots past `length` hold no token; no query sees them.

    layers          the tensors of each layer by name; their second axis counts blocks of `block_size` slots
    num_slots       how many slots each layer has
    ids             (capacity,) int64 on the CPU, the tokens in the cache, from which it is recomputed
    length          how many tokens are in the cache
    alpha           the NTK alpha that their keys were rotated with
    planned_length  see `Cache.plan`
    adapter         the adapter that its tokens are computed with, if any: it may change while the cache is empty
    oldest          the first position that has not been overwritten, of each layer with a window
    """

    block_size = 1

    def __init__(
        self,
        config: ModelConfig,
        *,
        capacity: int,
        layers: list[dict[str, Tensor]],
        ntk: NtkMode = "recompute",
    ) -> None:
        self.config = config
        self.ntk = ntk
        self.layers = layers
        self.num_slots = slots_of_layers(config, capacity)
        self.max_pass_tokens = MAX_PASS_TOKENS
        self.ids = torch.zeros(capacity, dtype=torch.long)
        self.length = 0
        self.alpha = 1.0
        self.planned_length = 0
        self.adapter: AdapterWeights | None = None
        self.oldest = {layer: 0 for layer in range(config.num_layers) if config.window(layer)}

    @classmethod
    def empty(
        cls,
        config: ModelConfig,
        *,
        capacity: int,
        ntk: NtkMode = "recompute",
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        **options: Any,
    ) -> Self:
        """A cache for a new sequence; `options` go to the constructor. Raises ResourceError if memory is short."""
        whole_number("capacity", capacity, minimum=1)
        if ntk not in get_args(NtkMode):
            raise SettingError(f"ntk must be one of {', '.join(get_args(NtkMode))}, found {quoted(ntk)}")
        require_cache_memory(
            cls.bytes_needed(config, capacity=capacity, dtype=dtype),
            device=torch.device(device),
            what=f"a cache of {capacity} tokens",
        )
        layers = [
            _zeros(cls._shapes(config, num_slots=num_slots, dtype=dtype), device=device)
            for num_slots in slots_of_layers(config, capacity)
        ]
        return cls(config, capacity=capacity, layers=layers, ntk=ntk, **options)

    @classmethod
    def bytes_needed(cls, config: ModelConfig, *, capacity: int, dtype: torch.dtype) -> int:
        """The `num_bytes` of a cache with room for `capacity` tokens."""
        return sum(
            math.prod(shape) * tensor_dtype.itemsize
            for num_slots in slots_of_layers(config, capacity)
            for shape, tensor_dtype in cls._shapes(config, num_slots=num_slots, dtype=dtype).values()
        )

    @staticmethod
    def _shapes(
        config: ModelConfig, *, num_slots: int, dtype: torch.dtype
    ) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        """The shape and type of each tensor of a layer."""
        shape = (config.num_kv_heads, num_slots, config.head_size)
        return {"keys": (shape, dtype), "values": (shape, dtype)}

    @property
    def num_bytes(self) -> int:
        return sum(tensor.nbytes for tensors in self.layers for tensor in tensors.values())

    @property
    def capacity(self) -> int:
        return len(self.ids)

    @property
    def dtype(self) -> torch.dtype:
        return self.layers[0]["keys"].dtype

    @property
    def device(self) -> torch.device:
        return self.layers[0]["keys"].device

    def choose_alpha(self, length: int) -> float:
        """The NTK alpha for a pass after which the sequence has `length` tokens."""
        if not self.config.dynamic_ntk:
            return 1.0
        if self.ntk == "original" and self.length:
            return self.alpha
        reserved = self.planned_length or self.capacity
        longest = reserved if self.ntk == "reserve" else max(self.planned_length, length)
        return ntk_alpha(longest, trained_length=self.config.trained_length)

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` tokens by moving to larger tensors, layer by layer: only one is in memory twice.

        Raises ResourceError if memory is short, and the cache stays as it is.
        """
        assert capacity >= self.capacity
        device = self.device
        largest = max(sum(tensor.nbytes for tensor in tensors.values()) for tensors in self.layers)
        require_cache_memory(
            self.bytes_needed(self.config, capacity=capacity, dtype=self.dtype) - self.num_bytes + largest,
            device=device,
            what=f"growing a cache from {self.capacity} to {capacity} tokens",
        )
        for layer, num_slots in enumerate(slots_of_layers(self.config, capacity)):
            if num_slots > self.num_slots[layer]:  # or it is a ring of full size; a smaller one has not wound around
                larger = _zeros(self._shapes(self.config, num_slots=num_slots, dtype=self.dtype), device=device)
                self._copy(self.layers[layer], larger, 0, self.length)
                self.layers[layer], self.num_slots[layer] = larger, num_slots
        ids = torch.zeros(capacity, dtype=torch.long)
        ids[: self.length] = self.ids[: self.length]
        self.ids = ids

    def reaches_back(self, length: int) -> bool:
        """Whether the first `length` tokens are in the cache, as far as a token at position `length` sees them."""
        assert length >= 0
        return length <= self.length and all(
            oldest <= max(0, length + 1 - self.config.window(layer)) or not length
            for layer, oldest in self.oldest.items()
        )

    def truncate(self, length: int) -> None:
        """Forget the tokens from position `length` on."""
        assert self.reaches_back(length)
        self.length = length
        if not length:
            self.oldest = dict.fromkeys(self.oldest, 0)

    def copy_prefix(self, source: SequenceCache, length: int) -> None:
        """Replace the content by the first `length` tokens of another cache of the same kind."""
        assert type(self) is type(source) and self.config == source.config and self.dtype == source.dtype
        assert self.adapter is source.adapter
        assert source.reaches_back(length) and length <= self.capacity
        self.truncate(0)  # until everything is copied
        if not length:
            return
        for layer in range(self.config.num_layers):
            self._copy(source.layers[layer], self.layers[layer], source.oldest.get(layer, 0), length)
        self.ids[:length] = source.ids[:length]
        self.length, self.alpha, self.oldest = length, source.alpha, dict(source.oldest)

    def _copy(self, source: Mapping[str, Tensor], target: Mapping[str, Tensor], first: int, stop: int) -> None:
        """Copy a layer's positions from `first` up to `stop`, in whole blocks.

        Of two rings that differ in size the smaller has not wound around, so nothing is overwritten.
        """
        first, stop = first // self.block_size, -(-stop // self.block_size)
        for name, theirs in source.items():
            ours = target[name]
            for begin, end in _runs(first, stop, theirs.shape[1], ours.shape[1]):
                to, of = begin % ours.shape[1], begin % theirs.shape[1]
                ours[:, to : to + end - begin] = theirs[:, of : of + end - begin]

    def make_room(self, count: int) -> None:
        """Give up the positions that a pass over `count` new tokens overwrites, even where it is interrupted."""
        for layer, oldest in self.oldest.items():
            self.oldest[layer] = max(oldest, self.length + count - self.num_slots[layer])

    def write(self, layer: int, start: int, key_KTD: Tensor, value_KTD: Tensor) -> tuple[Tensor, Tensor]:
        """Store new keys and values in a layer, from position `start` on.

        Returns the keys and values in all slots up to the last one used, (K, S, D).
        """
        slots, stop = self.num_slots[layer], start + key_KTD.shape[1]
        assert stop - start <= self.max_pass_tokens or slots >= self.capacity
        for begin, end in _runs(start, stop, slots):
            new = slice(begin - start, end - start)
            self._store("keys", layer, begin % slots, key_KTD[:, new])
            self._store("values", layer, begin % slots, value_KTD[:, new])
        return self._read("keys", layer, min(stop, slots)), self._read("values", layer, min(stop, slots))

    def slot_positions(self, layer: int, written: int) -> Tensor:
        """The position (S,) in each of a layer's slots once the sequence is written up to `written`.

        An empty slot has a position below 0. The slots are those that `write` returns.
        """
        slots = self.num_slots[layer]
        return written - 1 - (written - 1 - torch.arange(min(written, slots))) % slots

    def _store(self, name: str, layer: int, slot: int, new_KTD: Tensor) -> None:
        self.layers[layer][name][:, slot : slot + new_KTD.shape[1]] = new_KTD

    def _read(self, name: str, layer: int, end: int) -> Tensor:
        return self.layers[layer][name][:, :end]

    def advance(self, new_ids: Tensor, alpha: float) -> None:
        """Record the tokens (T,) of a finished pass as part of the cache."""
        stop = self.length + len(new_ids)
        self.ids[self.length : stop] = new_ids
        self.length, self.alpha = stop, alpha


def require_cache_memory(num_bytes: int, *, device: torch.device, what: str) -> None:
    """Raise ResourceError if `what` does not fit."""
    remedy = "lower max_new_tokens, context_length or the number of sequences"
    require_memory(num_bytes, device=device, what=what, remedy=remedy)


def choose_cache_dtype(requested: torch.dtype | None, choices: Sequence[torch.dtype]) -> torch.dtype:
    """The requested dtype, by default the first of the choices. Raises SettingError for one that is no choice."""
    if requested is not None and requested not in choices:
        raise SettingError(f"this model's cache_dtype must be {' or '.join(map(str, choices))}, found {requested}")
    return requested or choices[0]


def slots_of_layers(config: ModelConfig, capacity: int) -> list[int]:
    """How many slots each layer needs for a sequence of up to `capacity` tokens."""
    return [_num_slots(config.window(layer), capacity) for layer in range(config.num_layers)]


def _num_slots(window: int, capacity: int) -> int:
    if not window:
        return capacity
    # A ring buffer is a whole number of chunks, since the native attention takes that many positions at once.
    return min(capacity, -(-(window + MAX_PASS_TOKENS) // CHUNK) * CHUNK)


def _zeros(
    shapes: Mapping[str, tuple[tuple[int, ...], torch.dtype]], *, device: torch.device | str
) -> dict[str, Tensor]:
    """Tensors of zeros. On the CPU they lie side by side in memory that is provided only as it is written to.

    To fill what thousands of tokens may need later takes longer than a step.
    """
    if torch.device(device).type != "cpu":
        return {name: torch.zeros(shape, dtype=dtype, device=device) for name, (shape, dtype) in shapes.items()}
    sizes = [math.prod(shape) * dtype.itemsize for shape, dtype in shapes.values()]
    starts = list(accumulate((-(-size // _CACHE_LINE) * _CACHE_LINE for size in sizes), initial=0))
    memory = torch.frombuffer(zeroed_memory(starts[-1]), dtype=torch.uint8)
    return {
        name: memory[start : start + size].view(dtype).view(shape)
        for (name, (shape, dtype)), start, size in zip(shapes.items(), starts, sizes, strict=False)
    }


def _runs(first: int, stop: int, *rings: int) -> Iterator[tuple[int, int]]:
    """Cut `first` to `stop` wherever one of the rings, given by their sizes, begins again."""
    while first < stop:
        end = min(stop, *(first + size - first % size for size in rings))
        yield first, end
        first = end
