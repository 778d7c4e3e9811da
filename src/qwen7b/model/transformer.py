"""The model: embedding, layers, norm and head, over a batch of sequences that may differ in length."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from qwen7b.config import ModelConfig
from qwen7b.errors import SettingError, counted
from qwen7b.model.cache import MOST_NEW_TOKENS, Cache, NtkMode
from qwen7b.model.key_balance import KeyBalance
from qwen7b.model.layers import Layer, Linear, Positions, RMSNorm
from qwen7b.model.masks import attention_masks
from qwen7b.model.native import forget, native_layers
from qwen7b.model.packed_cache import PackedCache, can_pack
from qwen7b.model.rotary import logn_scale, ntk_alpha, rotary_tables
from qwen7b.quant import PackedLinear

_ID_DTYPES = (torch.int64, torch.int32)


@functools.cache
def _say_recomputed() -> None:
    """Once."""
    warnings.warn(
        "a sequence outgrew the length that its rotary base was chosen for, so all of it is read again with the next "
        "one, as at every doubling: ntk='reserve' chooses the base for the full length beforehand, 'original' keeps "
        "the first",
        stacklevel=5,
    )


class Transformer(nn.Module):
    """A dense Qwen, Qwen2 or Llama decoder. Holds weights and no sequence: what a sequence needs is in its Cache.

    Parameters are uninitialized; `qwen7b.load_model` fills them from a checkpoint.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        rows = torch.empty(config.vocab_rows, config.hidden_size)  # given, or torch would take a second to fill it
        self.embedding = nn.Embedding(config.vocab_rows, config.hidden_size, _weight=rows)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_layers))
        self.norm = RMSNorm(config.hidden_size, epsilon=config.norm_epsilon)
        self.head = Linear(config.hidden_size, config.vocab_rows, bias=False)
        if config.tied_head:
            self.head.weight = self.embedding.weight
        self.weight_format: str | None = None
        """What packed weights are packed as, as in "q8"; None for weights in the model's dtype."""
        self.cache_dtype: torch.dtype | None = None
        """What new caches hold: int8 (None) or float16 where weights are packed, else only the model's own dtype."""

    @property
    def dtype(self) -> torch.dtype:
        return self.norm.weight.dtype

    @property
    def device(self) -> torch.device:
        return self.norm.weight.device

    def _apply(self, change: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        forget(self)
        if isinstance(self.head, PackedLinear):
            if (found := change(torch.empty(0)).dtype) != torch.float32:
                raise SettingError(f"packed weights compute in float32, found {found}: leave out dtype")
            return super()._apply(lambda tensor: change(tensor).to(tensor.dtype), recurse)
        return super()._apply(change, recurse)  # type: ignore[no-untyped-call]

    def load_state_dict(self, *args: Any, **options: Any) -> Any:
        forget(self)
        return super().load_state_dict(*args, **options)

    def new_cache(self, *, batch_size: int = 1, max_length: int, ntk: NtkMode = "recompute") -> Cache:
        """An empty cache for `batch_size` sequences of up to `max_length` tokens, in `cache_dtype`."""
        choices, kind = [self.dtype], Cache
        if isinstance(self.head, PackedLinear) and can_pack(self.config):
            choices, kind = [torch.int8, torch.float16], PackedCache
        dtype = self.cache_dtype or choices[0]
        if dtype not in choices:
            raise SettingError(f"this model's cache_dtype must be {' or '.join(map(str, choices))}, found {dtype}")
        cache = kind(
            self.config, batch_size=batch_size, max_length=max_length, ntk=ntk, dtype=dtype, device=self.device
        )
        if isinstance(cache, PackedCache) and dtype == torch.int8:
            cache.balance = KeyBalance([layer.get_buffer("attention.pair_sizes") for layer in self.layers])
        return cache

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
        """Like `forward`, but the normalized hidden states (B, T, C) that the head would read."""
        counts = self._check(ids_BT, cache=cache, lengths=lengths)
        if cache is None:
            return self._pass(ids_BT, cache=None, counts=counts, alphas=[self._alpha(count) for count in counts])
        grown = cache.grown_lengths(counts)
        alphas = [1.0] * len(grown) if self.training else cache.choose_alphas(grown)
        self._refill(cache, alphas)
        passes = list(self._passes(ids_BT, cache=cache, counts=counts, alphas=alphas))
        return passes[0] if len(passes) == 1 else torch.cat(passes, dim=1)

    def _passes(self, ids_BT: Tensor, *, cache: Cache, counts: list[int], alphas: list[float]) -> Iterator[Tensor]:
        for start in range(0, ids_BT.shape[1], MOST_NEW_TOKENS):
            ids = ids_BT[:, start : start + MOST_NEW_TOKENS]
            now = [min(max(count - start, 0), ids.shape[1]) for count in counts]
            yield self._pass(ids, cache=cache, counts=now, alphas=alphas)

    def _pass(self, ids_BT: Tensor, *, cache: Cache | None, counts: list[int], alphas: list[float]) -> Tensor:
        starts = [0] * len(counts) if cache is None else cache.lengths
        # On the CPU, so that no decision waits for another device.
        positions_BT = torch.tensor(starts)[:, None] + torch.arange(ids_BT.shape[1])
        positions = self._positions(positions_BT, alphas=alphas)
        x = self.embedding(ids_BT.to(self.device))
        if isinstance(cache, PackedCache) and (native := native_layers(self)) is not None:
            x = native.run(x, positions, positions_BT, cache=cache, counts=counts)
        else:
            masks = attention_masks(self.config, positions_BT, cache=cache, device=self.device)
            for index, (layer, mask) in enumerate(zip(self.layers, masks, strict=True)):
                x = layer(x, positions, mask=mask, layer=index, cache=cache)
        if cache is not None:
            cache.advance(ids_BT, counts, alphas)
        return self.norm(x)  # type: ignore[no-any-return]

    def _alpha(self, length: int) -> float:
        if self.training or not self.config.dynamic_ntk:
            return 1.0
        return ntk_alpha(length, trained_length=self.config.trained_length)

    def _refill(self, cache: Cache, alphas: list[float]) -> None:
        """Recompute the sequences whose alpha changed: their keys were turned by the old one."""
        for row, (held, old, new) in enumerate(zip(cache.lengths, cache.alphas, alphas, strict=True)):
            if held and old != new:
                _say_recomputed()
                ids, fresh = cache.ids[row : row + 1, :held], cache.row(row)
                for _ in self._passes(ids, cache=fresh, counts=[held], alphas=[new]):
                    pass

    def _positions(self, positions_BT: Tensor, *, alphas: Sequence[float]) -> Positions:
        config, placed_BT = self.config, positions_BT.to(self.device)
        cos, sin = rotary_tables(
            placed_BT,
            alphas=alphas,
            base=config.rope_base,
            head_size=config.head_size,
            scaling=config.rotary_scaling,
        )
        query_scale = None
        if config.logn and not self.training and int(positions_BT.max()) >= config.trained_length:
            query_scale = logn_scale(placed_BT, trained_length=config.trained_length)
        return Positions(cos=cos, sin=sin, query_scale=query_scale)

    def _check(self, ids_BT: Tensor, *, cache: Cache | None, lengths: Sequence[int] | None) -> list[int]:
        if not isinstance(ids_BT, Tensor) or ids_BT.dtype not in _ID_DTYPES:
            found = ids_BT.dtype if isinstance(ids_BT, Tensor) else type(ids_BT).__name__
            raise SettingError(f"ids must be a tensor of int64 or int32, found {found}")
        if ids_BT.dim() != 2 or ids_BT.numel() == 0:
            raise SettingError(f"ids must be of shape (batch, tokens) and not empty, found {tuple(ids_BT.shape)}")
        batch_size, new = ids_BT.shape
        low, high = int(ids_BT.min()), int(ids_BT.max())
        if low < 0 or high >= self.config.vocab_rows:
            raise SettingError(
                f"token id {low if low < 0 else high} is outside the model's {self.config.vocab_rows} rows"
            )
        if cache is not None and cache.config is not self.config and cache.config != self.config:
            raise SettingError("the cache was made for another model or other settings: make one by model.new_cache")
        if cache is not None and len(cache.lengths) != batch_size:
            raise SettingError(f"a cache of {counted(len(cache.lengths), 'sequence')} cannot continue {batch_size}")
        if lengths is None:
            return [new] * batch_size
        least = 1 if cache is None else 0
        if len(lengths) != batch_size or any(
            not isinstance(length, int) or not least <= length <= new for length in lengths
        ):
            raise SettingError(f"lengths must be {batch_size} numbers from {least} to {new}, found {list(lengths)}")
        return list(lengths)
