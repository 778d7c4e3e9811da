"""A run's adapter in a saved step: a folder that PEFT reads, and exactly the numbers in training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from qwen7b.adapters.adapted_modules import adapter_of, fill_adapter
from qwen7b.adapters.adapter_files import read_adapter, write_adapter
from qwen7b.adapters.settings import LoraSettings
from qwen7b.model import Transformer


@dataclass(frozen=True, kw_only=True, slots=True)
class AdapterFolder:
    """Writes the adapter of a model that `add_adapter` changed, and fills it again."""

    settings: LoraSettings
    base: str
    """The model that it is for, by name or folder."""

    def save(self, model: Transformer, folder: Path) -> None:
        write_adapter(folder, adapter_of(model, self.settings), base=self.base)

    @torch.no_grad()
    def restore(self, model: Transformer, folder: Path) -> None:
        fill_adapter(model, read_adapter(folder), settings=self.settings, source=str(folder))
