"""The positions of one pass's tokens in their sequences, and the NTK alpha of each sequence.

The alpha of a sequence is chosen in its first pass and stays until it ends, as in the original: that is
`ntk="original"` of `qwen7b.load_model`. It is stored on the sequence's cache, never on a module.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import Cache

from qwen7b.model.rotary import ntk_alpha


def token_positions(
    shape: Sequence[int], *, attention_mask: Tensor | None, cache: Cache | None, device: torch.device
) -> Tensor:
    """Positions (B or 1, T), from 0, of the new tokens (B, T); tokens that the mask (B, S) hides do not count."""
    new = shape[1]
    if attention_mask is not None and attention_mask.dim() == 2:
        return (attention_mask.long().cumsum(-1) - 1).clamp(min=0)[:, -new:]
    num_cached = 0 if cache is None else cache.get_seq_length()
    return (torch.arange(new, device=device) + num_cached)[None]


def sequence_alphas(position_ids: Tensor, *, cache: Cache | None, trained_length: int) -> list[float]:
    """One NTK alpha per sequence, or a single one for all; chosen in the first pass, later taken from the cache."""
    cached_alphas: list[float] | None = getattr(cache, "ntk_alphas", None)
    # A compiled pass is never a first one, and there a static cache cannot be asked for its length.
    if cached_alphas is not None and (
        torch.compiler.is_compiling() or (cache is not None and cache.get_seq_length() > 0)
    ):
        return cached_alphas
    alphas = [1.0]
    if position_ids.shape[-1] > trained_length:
        lengths = (position_ids.amax(-1) + 1).tolist()
        alphas = [ntk_alpha(length, trained_length=trained_length) for length in lengths]
        if len(set(alphas)) == 1:
            alphas = alphas[:1]
    if cache is not None:
        cache.ntk_alphas = alphas  # type: ignore[attr-defined]
    return alphas
