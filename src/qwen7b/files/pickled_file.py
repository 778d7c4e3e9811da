"""Tensors in a file that torch.save wrote: a zip file since 2020, before that one pickle and the numbers behind it.

No code in a pickle is ever run. Torch's own reader is not used, as a damaged file can make it fail in any way, and the
file's own tables say where the numbers lie.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from qwen7b.errors import CheckpointError, UnsupportedError, counted, quoted
from qwen7b.files.stored import RawTensor, StoredTensor, file_size, map_range, read_bytes
from qwen7b.files.tensor_pickle import NotPlain, PickledTensor, Storage, WantsToRun, read_tensor_pickle
from qwen7b.files.zip_records import read_zip_records

_MAX_PICKLE = 1 << 24  # a hundred times the size of any real one
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


def open_pickle(path: Path) -> dict[str, StoredTensor]:
    """The tensors of one pickled shard by name.

    Raises CheckpointError where it is damaged, holds something else or would run code, and UnsupportedError for
    tensors that are not plain arrays of numbers.
    """
    try:
        is_zip = bytes(read_bytes(path, offset=0, num_bytes=min(4, file_size(path)))) == b"PK\3\4"
        return _open_zip(path) if is_zip else _open_legacy(path)
    except WantsToRun as error:
        raise CheckpointError(
            f"{path} holds more than tensors: it wants to run code ({quoted(str(error))}), which qwen7b never does; "
            "get the checkpoint as safetensors from a source you trust"
        ) from error
    except NotPlain as error:
        raise UnsupportedError(
            f"{path} holds a tensor that is not a plain array of real numbers, such as a sparse or complex one "
            f"({quoted(str(error))}): save its state dict as dense tensors"
        ) from error
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise CheckpointError(
            f"{path} is damaged or incomplete: its pickle is invalid ({error}); download it again"
        ) from error


def _open_zip(path: Path) -> dict[str, StoredTensor]:
    records = read_zip_records(path)
    roots = [name.removesuffix("data.pkl") for name in records if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(roots) != 1:
        raise CheckpointError(f"{path} is a zip file that torch.save did not write: give a file of model weights")
    [root] = roots

    def read_record(name: str, limit: int) -> bytes:
        record = records[root + name]
        if record.size > limit:
            raise ValueError(f"record {name} has {counted(record.size, 'byte')}")
        return bytes(read_bytes(path, offset=record.offset, num_bytes=record.size))

    if f"{root}constants.pkl" in records:
        raise UnsupportedError(f"{path} is a TorchScript program, not weights alone: save its state dict")
    if f"{root}byteorder" in records and (order := read_record("byteorder", 16)) != b"little":
        raise UnsupportedError(
            f"{path} was saved on a machine of another byte order ({quoted(order)}): load it there, and save it as "
            "safetensors"
        )
    state = _state_dict(path, read_tensor_pickle(BytesIO(read_record("data.pkl", _MAX_PICKLE))))
    offsets = {}
    for storage in {tensor.storage for tensor in state.values()}:
        record = records.get(f"{root}data/{storage.key}")
        if record is None or record.size != storage.num_bytes:
            actual = "none" if record is None else f"{record.size} bytes"
            raise CheckpointError(
                f"{path} is damaged or incomplete: record {quoted(storage.key)} should have {storage.num_bytes} bytes, "
                f"found {actual}; download it again"
            )
        offsets[storage] = record.offset
    return _stored(path, state, offsets)


def _open_legacy(path: Path) -> dict[str, StoredTensor]:
    """The format before 2020: a few pickles, then each storage as a count and its numbers."""
    size = file_size(path)
    stream = BytesIO(read_bytes(path, offset=0, num_bytes=min(size, _MAX_PICKLE)))
    if stream.getvalue()[257:262] == b"ustar":
        raise UnsupportedError(
            f"{path} is in torch's format from before 2017: save its state dict again with torch.save"
        )
    if read_tensor_pickle(stream) != _MAGIC or read_tensor_pickle(stream) != _PROTOCOL:
        raise ValueError("it does not begin as torch's files do")
    system = read_tensor_pickle(stream)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise UnsupportedError(f"{path} was saved on a machine of another byte order: load it there, and save it again")
    storages: dict[str, Storage] = {}  # of every tensor in the file, which may hold more than the model
    state = _state_dict(path, read_tensor_pickle(stream, storages=storages))
    keys = read_tensor_pickle(stream)
    if not isinstance(keys, list) or len(keys) != len(set(keys)) or not storages.keys() <= set(keys):
        raise ValueError(f"its storages are {quoted(keys)}")
    offsets, position = {}, stream.tell()
    for key in keys:
        if key not in storages:
            raise ValueError(f"storage {quoted(key)} is not used by any tensor")
        storage = storages[key]
        count = int.from_bytes(read_bytes(path, offset=position, num_bytes=8), "little")
        if count != storage.count or position + 8 + storage.num_bytes > size:
            raise ValueError(f"storage {quoted(key)} of {storage.count} numbers claims {count}")
        offsets[storage] = position + 8
        position += 8 + storage.num_bytes
    return _stored(path, state, offsets)


# The keys under which trainers save the model beside other state.
_MODEL_KEYS = ("state_dict", "model_state_dict", "model", "module")


def _state_dict(path: Path, state: Any) -> dict[str, PickledTensor]:
    """The model's tensors by name, out of everything that a file holds."""
    if isinstance(state, dict):
        state = next((state[name] for name in _MODEL_KEYS if isinstance(state.get(name), dict)), state)
    if not isinstance(state, dict) or not all(isinstance(tensor, PickledTensor) for tensor in state.values()):
        raise CheckpointError(f"{path} is not a dict of tensors by name: give a checkpoint of model weights")
    if other_keys := [name for name in state if not isinstance(name, str)]:
        raise CheckpointError(
            f"{path} has a tensor whose name is {quoted(other_keys[0])}, not a string: save the state dict unchanged"
        )
    return dict(state)


def _stored(path: Path, state: Mapping[str, PickledTensor], offsets: Mapping[Storage, int]) -> dict[str, StoredTensor]:
    stored: dict[str, StoredTensor] = {}
    for name, tensor in state.items():
        offset = offsets[tensor.storage] + tensor.offset * tensor.dtype.itemsize
        if _is_contiguous(tensor):
            stored[name] = RawTensor(path, tensor.dtype, tensor.shape or (1,), offset)
        else:
            stored[name] = StridedTensor(path, tensor.dtype, tensor.shape, tensor.strides, offset)
    return stored


def _is_contiguous(tensor: PickledTensor) -> bool:
    expected = 1
    for length, stride in zip(reversed(tensor.shape), reversed(tensor.strides), strict=True):
        if length != 1 and stride != expected:
            return 0 in tensor.shape
        expected *= length
    return True


@dataclass(frozen=True, slots=True)
class StridedTensor:
    """A tensor whose numbers are not in row order in the file, such as a transposed one."""

    path: Path
    dtype: torch.dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int

    def read_rows(self, start: int, stop: int) -> Tensor:
        # From the first to the last number of these rows; those of a transposed matrix are spread over all of it.
        first = start * self.strides[0]
        lengths = (stop - start, *self.shape[1:])
        if math.prod(lengths) == 0:
            return torch.empty(lengths, dtype=self.dtype)
        span = 1 + sum((length - 1) * stride for length, stride in zip(lengths, self.strides, strict=True))
        offset, num_bytes = self.offset + first * self.dtype.itemsize, span * self.dtype.itemsize
        pages, before = map_range(self.path, offset=offset, num_bytes=num_bytes)
        numbers = torch.frombuffer(pages, dtype=self.dtype, count=span, offset=before)
        return numbers.as_strided(lengths, self.strides).clone(memory_format=torch.contiguous_format)
