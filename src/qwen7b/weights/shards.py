"""One file of weights, safetensors or pickled."""

from __future__ import annotations

from pathlib import Path

from qwen7b.errors import CheckpointError
from qwen7b.weights.pickled_file import open_pickle
from qwen7b.weights.safetensors_file import open_safetensors
from qwen7b.weights.stored import StoredTensor, opened

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


def open_weight_file(path: Path) -> dict[str, StoredTensor]:
    """Tensors by name of one safetensors or pickled file."""
    with opened(path) as file:
        beginning = file.read(len(_LFS_POINTER))
    if beginning == _LFS_POINTER:
        raise CheckpointError(f"{path} is a Git LFS pointer, not the weights: run git lfs pull or download it again")
    return open_safetensors(path) if path.suffix == ".safetensors" else open_pickle(path)
