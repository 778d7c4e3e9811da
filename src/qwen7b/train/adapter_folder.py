"""A run's adapter in a saved step: a folder that PEFT reads, and exactly the numbers in training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from qwen7b.adapters.adapted_modules import adapter_of, fill_adapter
from qwen7b.adapters.adapter_files import read_adapter, write_adapter
from qwen7b.adapters.settings import LoraSettings
from qwen7b.model import Transformer
from qwen7b.train.ranks import Ranks, fill


@dataclass(frozen=True, kw_only=True, slots=True)
class AdapterFolder:
    """Writes the adapter of a model that `add_adapter` changed, and fills it again."""

    settings: LoraSettings
    base: str
    """The model that it is for, by name or folder."""

    def save(self, model: Transformer, folder: Path, ranks: Ranks) -> None:
        adapter = adapter_of(model, self.settings)
        whole = replace(  # it is small
            adapter,
            factors={stem: (ranks.whole(a), ranks.whole(b)) for stem, (a, b) in adapter.factors.items()},
            token_rows={stem: ranks.whole(rows) for stem, rows in adapter.token_rows.items()},
        )
        ranks.on_first(lambda: write_adapter(folder, whole, base=self.base))

    @torch.no_grad()
    def restore(self, model: Transformer, folder: Path, ranks: Ranks) -> None:
        fill_adapter(
            model,
            read_adapter(folder),
            settings=self.settings,
            source=str(folder),
            fill=lambda own, read: fill(own, read, ranks=ranks),
        )
