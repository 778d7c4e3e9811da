"""The model: embedding, layers, norm and head, over a batch of sequences that may differ in length."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from qwen7b.config import ModelConfig
from qwen7b.config.checked import whole_number
from qwen7b.errors import SettingError, counted
from qwen7b.model.adapter_weights import AdapterWeights
from qwen7b.model.cache import Cache
from qwen7b.model.layers import Layer, Linear, RMSNorm, run_layers
from qwen7b.model.rotary import ntk_alpha
from qwen7b.model.rows import Rows, make_rows
from qwen7b.model.sequence_cache import NtkMode, SequenceCache, choose_cache_dtype, require_cache_memory

_ID_DTYPES = (torch.int64, torch.int32)


class Runner(Protocol):
    """Takes embedded rows (R, C) through the layers; with a cache, their keys and values go into it.

    `run_layers` is the readable one. A faster runner owns what it points to, and notices when a layer is replaced.
    """

    def __call__(self, layers: nn.ModuleList, x_RC: Tensor, rows: Rows, cache: Cache | None) -> Tensor: ...


class CacheFactory(Protocol):
    """Makes the caches that a model's runner works on, and knows what they take."""

    def __call__(self, model: Transformer, *, capacity: int, ntk: NtkMode) -> SequenceCache: ...

    def bytes_needed(self, model: Transformer, *, capacity: int) -> int: ...


@functools.cache
def warn_of_recompute() -> None:
    """Warn of a recomputation, once in a process."""
    warnings.warn(
        "a sequence outgrew the length that its rotary base was chosen for, so all of it is read again with the next "
        "one, as at every doubling: ntk='reserve' chooses the base for the full length beforehand, 'original' keeps "
        "the first",
        stacklevel=5,
    )


class Transformer(nn.Module):
    """A dense Qwen, Qwen2 or Llama decoder. It holds weights only: all that belongs to a sequence is in its Cache.

    Parameters are uninitialized; `qwen7b.load_model` fills them from a checkpoint.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        rows = torch.empty(config.vocab_rows, config.hidden_size)  # else torch takes a second to fill it
        self.embedding = nn.Embedding(config.vocab_rows, config.hidden_size, _weight=rows)
        self.layers = nn.ModuleList(Layer(config, layer) for layer in range(config.num_layers))
        self.norm = RMSNorm(config.hidden_size, epsilon=config.norm_epsilon)
        self.head = Linear(config.hidden_size, config.vocab_rows, bias=False)
        if config.tied_head:
            self.head.weight = self.embedding.weight
        self.runner: Runner = run_layers
        self.own_threads = False
        """Whether the runner computes on threads of its own, which PyTorch's would only delay."""
        self.cache_factory: CacheFactory = PlainCacheFactory()
        self.weight_format: str | None = None
        """The format that weights are held in, as in "q8"; None for the model's dtype."""
        self.weights_file: Path | None = None
        """The file that packed weights are mapped from; None where there is none."""
        self.cache_dtype: torch.dtype | None = None
        """The dtype of new caches; None for the one that suits the weights: the model's own, or int8 for packed
        weights."""

    @property
    def dtype(self) -> torch.dtype:
        return self.norm.weight.dtype

    @property
    def precision(self) -> str:
        """How the weights are held: `weight_format`, or the name of the dtype."""
        return self.weight_format or str(self.dtype).removeprefix("torch.")

    @property
    def device(self) -> torch.device:
        return self.norm.weight.device

    def new_cache(self, *, batch_size: int = 1, max_length: int, ntk: NtkMode = "recompute") -> Cache:
        """An empty cache for `batch_size` sequences of up to `max_length` tokens, in `cache_dtype`."""
        whole_number("batch_size", batch_size, minimum=1)
        whole_number("max_length", max_length, minimum=1)
        require_cache_memory(
            batch_size * self.cache_bytes(capacity=max_length),
            device=self.device,
            what=f"a cache of {batch_size} x {max_length} tokens",
        )
        return Cache([self.new_sequence_cache(capacity=max_length, ntk=ntk) for _ in range(batch_size)])

    def new_sequence_cache(self, *, capacity: int, ntk: NtkMode = "recompute") -> SequenceCache:
        """An empty cache for one sequence of up to `capacity` tokens, in `cache_dtype`; several make a `Cache`."""
        return self.cache_factory(self, capacity=capacity, ntk=ntk)

    def cache_bytes(self, *, capacity: int) -> int:
        """What the keys and values of a sequence take that has room for `capacity` tokens."""
        return self.cache_factory.bytes_needed(self, capacity=capacity)

    def forward(self, ids_BT: Tensor, *, cache: Cache | None = None, lengths: Sequence[int] | None = None) -> Tensor:
        """Logits (B, T, V) of the token after each of `ids_BT` (B, T), in the model's dtype.

        With a cache, the ids continue its sequences and are added to them; any cut of a sequence into calls gives
        the same logits. `lengths` says how many ids of each row are real: rows are padded on the right, with any
        id, and logits at padding mean nothing; with a cache a row may have none. Dynamic NTK and LogN act in eval
        mode only.

        Raises PromptError where the sequences outgrow the cache, SettingError where ids are out of range.
        """
        return self.head(self.hidden(ids_BT, cache=cache, lengths=lengths))  # type: ignore[no-any-return]

    def hidden(self, ids_BT: Tensor, *, cache: Cache | None = None, lengths: Sequence[int] | None = None) -> Tensor:
        """Compute as `forward` does, but return the normalized hidden states (B, T, C) that the head would read."""
        counts = _check_batch(ids_BT, cache=cache, lengths=lengths)
        starts = [0] * len(counts) if cache is None else list(cache.lengths)
        new_ids = [ids[:count] for ids, count in zip(ids_BT.cpu(), counts, strict=True)]
        passes = list(self.passes(new_ids, cache=cache))
        if len(passes) == 1 and min(counts) == ids_BT.shape[1]:
            return passes[0][1].view(*ids_BT.shape, -1)
        hidden_BTC = passes[0][1].new_zeros(*ids_BT.shape, self.config.hidden_size)
        for rows, hidden_RC in passes:
            sequences = rows.sequences.long()
            hidden_BTC[sequences, rows.positions - torch.tensor(starts)[sequences]] = hidden_RC
        return hidden_BTC

    def logits(self, hidden_RC: Tensor, adapters: Sequence[AdapterWeights | None] = ()) -> Tensor:
        """The logits (R, V) of normalized hidden states, of which each may have an adapter."""
        logits_RV: Tensor = self.head(hidden_RC)
        for row, adapter in enumerate(adapters):
            if adapter is not None and adapter.head is not None:
                adapter.head.replace_logits(logits_RV[row], hidden_RC[row])
        return logits_RV

    def passes(self, new_ids: Sequence[Tensor], *, cache: Cache | None = None) -> Iterator[tuple[Rows, Tensor]]:
        """Read the new ids (T,) of each sequence, on the CPU, without padding; a sequence may have none.

        With a cache at most its `max_pass_tokens` of each are read at once. Yields the rows of each pass, and the
        normalized hidden states (R, C) that the head would read. Raises what `forward` raises.
        """
        low, high = map(int, torch.cat(list(new_ids)).aminmax())
        if low < 0 or high >= self.config.vocab_rows:
            bad_id = low if low < 0 else high
            raise SettingError(f"token id {bad_id} is outside the model's {self.config.vocab_rows} rows")
        counts = [ids.shape[0] for ids in new_ids]
        if cache is None:
            alphas = [1.0] * len(counts)
            if self.config.dynamic_ntk and not self.training:
                alphas = [ntk_alpha(count, trained_length=self.config.trained_length) for count in counts]
            yield self._pass(new_ids, starts=[0] * len(counts), alphas=alphas, cache=None)
            return
        configs = (sequence.config for sequence in cache.sequences)
        if any(config is not self.config and config != self.config for config in configs):
            raise SettingError("the cache was made for another model or other settings: make one by model.new_cache")
        if len(cache.sequences) != len(counts):
            raise SettingError(f"a cache of {counted(len(cache.sequences), 'sequence')} cannot continue {len(counts)}")
        new_lengths = cache.lengths_after(counts)
        alphas = [1.0] * len(new_lengths) if self.training else cache.choose_alphas(new_lengths)
        self._recompute(cache, alphas)
        yield from self._read(new_ids, cache=cache, alphas=alphas)

    def _read(
        self, new_ids: Sequence[Tensor], *, cache: Cache, alphas: Sequence[float]
    ) -> Iterator[tuple[Rows, Tensor]]:
        for start in range(0, max(ids.shape[0] for ids in new_ids), cache.max_pass_tokens):
            chunks = [ids[start : start + cache.max_pass_tokens] for ids in new_ids]
            cache.make_room([chunk.shape[0] for chunk in chunks])
            done = self._pass(chunks, starts=cache.lengths, alphas=alphas, cache=cache)
            cache.advance(chunks, alphas)
            yield done

    def _pass(
        self, new_ids: Sequence[Tensor], *, starts: Sequence[int], alphas: Sequence[float], cache: Cache | None
    ) -> tuple[Rows, Tensor]:
        rows = make_rows(
            self.config,
            new_ids,
            starts=starts,
            alphas=alphas,
            adapters=[] if cache is None else cache.adapters,
            device=self.device,
            cached=cache is not None,
            training=self.training,
        )
        ids_R = rows.ids.to(self.device)
        x_RC = self.embedding(ids_R)
        for adapted in rows.adapted:
            if (own := adapted.adapter.embedding) is not None:
                x_RC[adapted.numbers] = own.replace_embedded(x_RC[adapted.numbers], ids_R[adapted.numbers])
        x_RC = self.runner(self.layers, x_RC, rows, cache)
        rows.masks.clear()  # they are large, and the caller may keep the rows
        return rows, self.norm(x_RC)

    def _recompute(self, cache: Cache, alphas: Sequence[float]) -> None:
        """Recompute the sequences whose alpha changed: their keys were rotated with the old one."""
        for sequence, alpha in zip(cache.sequences, alphas, strict=True):
            if sequence.length and sequence.alpha != alpha:
                warn_of_recompute()
                ids = sequence.ids[: sequence.length].clone()
                sequence.truncate(0)  # if interrupted, it holds as much as was read again
                for _ in self._read([ids], cache=Cache([sequence]), alphas=[alpha]):
                    pass


class PlainCacheFactory:
    """Makes caches in the model's own dtype, on its device."""

    def __call__(self, model: Transformer, *, capacity: int, ntk: NtkMode) -> SequenceCache:
        dtype = choose_cache_dtype(model.cache_dtype, (model.dtype,))
        return SequenceCache.empty(model.config, capacity=capacity, ntk=ntk, dtype=dtype, device=model.device)

    def bytes_needed(self, model: Transformer, *, capacity: int) -> int:
        dtype = choose_cache_dtype(model.cache_dtype, (model.dtype,))
        return SequenceCache.bytes_needed(model.config, capacity=capacity, dtype=dtype)


def _check_batch(ids_BT: Tensor, *, cache: Cache | None, lengths: Sequence[int] | None) -> list[int]:
    """Check a batch, and return how many ids of each row are real."""
    if not isinstance(ids_BT, Tensor) or ids_BT.dtype not in _ID_DTYPES:
        actual = ids_BT.dtype if isinstance(ids_BT, Tensor) else type(ids_BT).__name__
        raise SettingError(f"ids must be a tensor of int64 or int32, found {actual}")
    if ids_BT.dim() != 2 or ids_BT.numel() == 0:
        raise SettingError(f"ids must be of shape (batch, tokens) and not empty, found {tuple(ids_BT.shape)}")
    batch_size, new = ids_BT.shape
    if lengths is None:
        return [new] * batch_size
    minimum = 1 if cache is None else 0
    if len(lengths) != batch_size or any(
        not isinstance(length, int) or not minimum <= length <= new for length in lengths
    ):
        raise SettingError(f"lengths must be {batch_size} numbers from {minimum} to {new}, found {list(lengths)}")
    if not any(lengths):
        raise SettingError("lengths are all 0, so there is nothing to compute: leave the call out")
    return list(lengths)
