"""The weight files of a checkpoint folder: safetensors or pickled, whole or sharded."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import torch

from qwen7b.errors import CheckpointError, Qwen7bError, UnsupportedError
from qwen7b.json_file import read_json
from qwen7b.weights.problems import Report, fail
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


def open_shards(folder: Path, *, report: Report = fail) -> dict[str, StoredTensor]:
    """Tensors by name of a folder's safetensors files, or else of its pickled ones, sharded or not.

    `report` is told of missing and damaged shards; the tensors of the others are returned.
    """
    for whole in _names_of_whole(folder):
        index = folder / f"{whole}.index.json"
        if index.exists():
            return _open_indexed(index, report)
        if (folder / whole).exists():
            return open_weight_file(folder / whole)
    if shards := numbered_shards(folder):
        raise CheckpointError(
            f"{folder} has shards ({shards[0].name} …) but no index that says what they hold: "
            f"'qwen7b doctor {folder} --fix NEW_FOLDER' restores it"
        )
    found = ", ".join(sorted(os.listdir(folder))[:8]) or "nothing"
    raise CheckpointError(
        f"{folder} holds no weights: model.safetensors or pytorch_model.bin (or their .index.json) should be "
        f"there, found {found}"
    )


def numbered_shards(folder: Path) -> list[Path]:
    """The shards of a folder in order, by their names: safetensors, or else pickled ones."""
    for suffix in ("safetensors", "bin"):
        if shards := sorted(folder.glob(f"*-[0-9][0-9][0-9][0-9][0-9]-of-[0-9][0-9][0-9][0-9][0-9].{suffix}")):
            return shards
    return []


def _names_of_whole(folder: Path) -> Iterator[str]:
    """What the weights would be called in one file; with .index.json behind, the name of the shards' index."""
    yield from ("model.safetensors", "pytorch_model.bin")
    # AutoGPTQ's own names, such as gptq_model-4bit-128g.safetensors
    yield from (file.name.removesuffix(".index.json") for file in sorted(folder.glob("gptq_model*")))


def _open_indexed(index: Path, report: Report) -> dict[str, StoredTensor]:
    try:
        weight_map = {str(name): str(shard) for name, shard in read_json(index)["weight_map"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index} is damaged: it has no weight_map of shard files; download it again") from error
    shards = sorted(set(weight_map.values()))
    missing = [shard for shard in shards if Path(shard).name != shard or not os.path.isfile(index.parent / shard)]
    if missing:
        report(
            CheckpointError(
                f"{index.parent} lacks {len(missing)} of {len(shards)} shards ({', '.join(missing):.200}): "
                "download them again"
            )
        )
    opened: dict[str, dict[str, StoredTensor]] = {}
    for shard in shards:
        if shard not in missing:
            try:
                opened[shard] = open_weight_file(index.parent / shard)
            except Qwen7bError as error:
                report(error)
    absent = [name for name, shard in weight_map.items() if shard in opened and name not in opened[shard]]
    if absent:
        report(
            CheckpointError(
                f"{weight_map[absent[0]]} lacks tensor {absent[0]!r}, which {index.name} places there: "
                "download it again"
            )
        )
    return {
        name: opened[shard][name] for name, shard in weight_map.items() if shard in opened and name in opened[shard]
    }
