"""Which keys a query sees, where that is not all of them up to its own."""

from __future__ import annotations

import torch
from torch import Tensor

from qwen7b.config import ModelConfig
from qwen7b.model.cache import Cache


def attention_masks(
    config: ModelConfig, positions_BT: Tensor, *, cache: Cache | None, device: torch.device
) -> list[Tensor | None]:
    """Of each layer, the mask (B or 1, 1, T, S) that `Attention` takes for queries at `positions_BT` (on the CPU).

    With a cache the keys are those in a layer's slots once the queries' own are written; without, keys and queries
    stand at the same positions.
    """
    if (positions_BT == positions_BT[:1]).all():
        positions_BT = positions_BT[:1]
    masks: dict[tuple[int, int], Tensor | None] = {}
    kinds = []
    for layer in range(config.num_layers):
        kind = (config.window(layer), 0 if cache is None else cache.num_slots[layer])
        kinds.append(kind)
        if kind not in masks:
            masks[kind] = _mask(positions_BT, window=kind[0], layer=layer, cache=cache, device=device)
    return [masks[kind] for kind in kinds]


def _mask(positions_BT: Tensor, *, window: int, layer: int, cache: Cache | None, device: torch.device) -> Tensor | None:
    batch_size, num_new = positions_BT.shape
    last = int(positions_BT.max())
    if batch_size == 1 and not 0 < window <= last and (num_new == 1 or last == num_new - 1):
        return None
    if cache is None:
        keys_BS = positions_BT
    else:
        keys_BS = cache.slot_positions(layer, (positions_BT[:, -1] + 1).clamp(max=cache.max_length))
    queries_B1T1, keys_B11S = positions_BT[:, None, :, None].to(device), keys_BS[:, None, None, :].to(device)
    seen = (keys_B11S <= queries_B1T1) & (keys_B11S >= 0)
    return seen & (keys_B11S > queries_B1T1 - window) if window else seen
