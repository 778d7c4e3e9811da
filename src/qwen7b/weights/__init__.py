"""Where checkpoints come from: names and hubs to files, files to a filled model. Knows no text.

Finding and fetching files needs no torch, so the half that reads weights is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from qwen7b.importing import quick_imports
from qwen7b.weights.fetch import fetch
from qwen7b.weights.known import KNOWN_MODELS
from qwen7b.weights.listing import ListedModel, list_models, list_official_models
from qwen7b.weights.locate import locate

if TYPE_CHECKING:
    from qwen7b.weights.checkpoint import Checkpoint, open_checkpoint
    from qwen7b.weights.conversion import convert
    from qwen7b.weights.generation import GenerationSettings
    from qwen7b.weights.loading import load_model
    from qwen7b.weights.packed.quantizing import quantize
    from qwen7b.weights.tokenizer import load_tokenizer

__all__ = [
    "KNOWN_MODELS",
    "Checkpoint",
    "GenerationSettings",
    "ListedModel",
    "convert",
    "fetch",
    "list_models",
    "list_official_models",
    "load_model",
    "load_tokenizer",
    "locate",
    "open_checkpoint",
    "quantize",
]

_MODULES = {
    "Checkpoint": "checkpoint",
    "GenerationSettings": "generation",
    "convert": "conversion",
    "load_model": "loading",
    "load_tokenizer": "tokenizer",
    "open_checkpoint": "checkpoint",
    "quantize": "packed.quantizing",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with quick_imports():
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
