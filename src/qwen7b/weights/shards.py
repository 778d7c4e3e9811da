"""One file of weights, safetensors or pickled."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch

from qwen7b.errors import CheckpointError, UnsupportedError
from qwen7b.weights.safetensors_file import open_safetensors
from qwen7b.weights.stored import RawTensor, StoredTensor

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


def open_pickle(path: Path) -> dict[str, StoredTensor]:
    """Tensors of one pickled shard by name; nothing that the pickle wants to run is run.

    Only the table is unpickled: a fake tensor knows where in the file its numbers lie.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    try:
        with FakeTensorMode():
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can make torch fail in any way
        if isinstance(error, pickle.UnpicklingError) and ("Unsupported global" in str(error) or "GLOBAL" in str(error)):
            raise CheckpointError(
                f"{path} holds more than tensors: it wants to run code, which qwen7b never does; get the checkpoint "
                "as safetensors from a source you trust"
            ) from error
        raise CheckpointError(f"{path} is damaged or incomplete: download it again") from error
    if not isinstance(state, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
        raise CheckpointError(f"{path} is not a table of tensors by name: name a checkpoint of model weights")
    return {str(name): _raw(path, tensor) for name, tensor in state.items()}


def _raw(path: Path, tensor: torch.Tensor) -> RawTensor:
    if tensor.layout is not torch.strided or tensor.is_complex():
        raise UnsupportedError(f"{path} holds a sparse or complex tensor: save its state dict as plain numbers")
    offset = getattr(tensor.untyped_storage(), "_checkpoint_offset", None)
    if offset is None or not tensor.is_contiguous():
        raise UnsupportedError(f"{path} is in torch's format of before 2020: save its state dict again with torch.save")
    offset += tensor.storage_offset() * tensor.itemsize
    return RawTensor(path, tensor.dtype, tuple(tensor.shape), offset)


def open_weight_file(path: Path) -> dict[str, StoredTensor]:
    """Tensors by name of one safetensors or pickled file."""
    try:
        with path.open("rb") as file:
            beginning = file.read(len(_LFS_POINTER))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    if beginning == _LFS_POINTER:
        raise CheckpointError(f"{path} is a Git LFS pointer, not the weights: run git lfs pull or download it again")
    return open_safetensors(path) if path.suffix == ".safetensors" else open_pickle(path)
