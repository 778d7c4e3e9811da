"""Attention masks, for the cases in which a query does not simply see all keys up to its own position."""

from __future__ import annotations

import torch
from torch import Tensor

from qwen7b.model.cache import Cache
from qwen7b.model.rows import Group, Rows


def attention_masks(rows: Rows, *, layer: int, cache: Cache | None) -> list[Tensor | None]:
    """The mask (G or 1, 1, T, S) of each group in a layer: true where a query may see a key.

    With a cache the keys are those in the layer's slots once the queries' own are written; without, keys and queries
    stand at the same positions. None stands for a plain causal mask; a single query then sees all keys.
    """
    window = rows.windows[layer]
    key = window, None if cache is None else cache.num_slots[layer]
    if key not in rows.masks:
        device = rows.cos.device
        rows.masks[key] = [
            _mask(group, window=window, layer=layer, cache=cache, device=device) for group in rows.groups
        ]
    return rows.masks[key]


def _mask(group: Group, *, window: int, layer: int, cache: Cache | None, device: torch.device) -> Tensor | None:
    starts = group.starts if len(set(group.starts)) > 1 else group.starts[:1]
    last = group.longest - 1
    if len(starts) == 1 and not 0 < window <= last and (group.num_new == 1 or starts[0] == 0):
        return None
    queries_GT = torch.tensor(starts)[:, None] + torch.arange(group.num_new)
    keys_GS = queries_GT if cache is None else cache.slot_positions(layer, queries_GT[:, -1] + 1)
    queries_G1T1, keys_G11S = queries_GT[:, None, :, None].to(device), keys_GS[:, None, None, :].to(device)
    visible = keys_G11S <= queries_G1T1
    visible &= keys_G11S >= 0
    if window:
        visible &= keys_G11S > queries_G1T1 - window
    return visible
