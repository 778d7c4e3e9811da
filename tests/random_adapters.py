"""Adapters with random numbers, written as folders."""

from __future__ import annotations

from pathlib import Path

import torch

from qwen7b.adapters.adapter import Adapter
from qwen7b.adapters.adapter_files import write_adapter
from qwen7b.adapters.settings import DEFAULT_TARGETS, LoraSettings, find_targets
from qwen7b.checkpoint.tensor_names import folder_names
from qwen7b.config import ModelConfig
from qwen7b.model.parameter_shapes import parameter_shapes


def write_random_adapter(
    folder: Path,
    config: ModelConfig,
    *,
    seed: int = 0,
    rank: int = 4,
    targets: tuple[str, ...] | None = None,
    token_ids: tuple[int, ...] = (),
    size: float = 0.1,
) -> Path:
    """Write an adapter for a model of this config that changes it a good deal; returns its folder."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator) * size

    targets = DEFAULT_TARGETS[config.family] if targets is None else targets
    settings = LoraSettings(targets=targets, rank=rank, alpha=2 * rank, token_ids=token_ids)
    shapes, factors = parameter_shapes(config), {}
    for stem, place in find_targets(config, targets).items():
        rows, columns = shapes[place.parameter]
        factors[stem] = random(rank, columns), random(place.num_rows or rows, rank)
    stems = {parameter: stem for stem, parameter in folder_names(config).outer.items()}
    own = [stems[name] for name in (("embedding",) if config.tied_head else ("embedding", "head")) if token_ids]
    adapter = Adapter(
        settings=settings,
        factors=factors,
        token_rows={stem: random(len(token_ids), config.hidden_size) for stem in own},
        token_ids=dict.fromkeys(own, token_ids),
    )
    write_adapter(folder, adapter, base="base")
    return folder
