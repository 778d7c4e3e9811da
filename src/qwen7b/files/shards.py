"""One file of weights, safetensors or pickled."""

from __future__ import annotations

from pathlib import Path

from qwen7b.files.pickled_file import open_pickle
from qwen7b.files.safetensors_file import open_safetensors
from qwen7b.files.stored import StoredTensor
from qwen7b.files.suffixes import is_safetensors


def open_weight_file(path: Path) -> dict[str, StoredTensor]:
    """Tensors by name of one safetensors or pickled file."""
    return open_safetensors(path) if is_safetensors(path.name) else open_pickle(path)
