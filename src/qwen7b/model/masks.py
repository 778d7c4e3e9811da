"""Attention masks, for the cases in which a query does not simply see all keys up to its own position."""

from __future__ import annotations

import torch
from torch import Tensor

from qwen7b.model.cache import Cache
from qwen7b.model.rows import Group, Rows


def attention_mask(rows: Rows, group: Group, *, layer: int, cache: Cache | None) -> Tensor | None:
    """The mask (T, S) of a group in a layer: true where a query may see a key.

    With a cache the keys are those in the layer's slots once the queries' own are written; without, keys and queries
    stand at the same positions. None stands for a plain causal mask; a single query then sees all keys.
    """
    window, stop = rows.windows[layer], group.start + group.num_new
    if not 0 < window < stop and (group.num_new == 1 or group.start == 0):
        return None
    sequence = None if cache is None else cache.sequences[group.first_sequence]
    key = group.first_sequence, window, None if sequence is None else sequence.num_slots[layer]
    if key not in rows.masks:
        queries_T = torch.arange(group.start, stop)
        keys_S = queries_T if sequence is None else sequence.slot_positions(layer, stop)
        queries_T1, keys_S = queries_T[:, None].to(rows.cos.device), keys_S.to(rows.cos.device)
        visible = keys_S <= queries_T1
        visible &= keys_S >= 0
        if window:
            visible &= keys_S > queries_T1 - window
        rows.masks[key] = visible
    return rows.masks[key]
