"""Tensors in a safetensors file, and the header of a new one. Format: https://github.com/huggingface/safetensors#format"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from qwen7b.errors import CheckpointError, UnsupportedError, counted, quoted
from qwen7b.files.stored import RawTensor, StoredTensor, file_size, read_bytes
from qwen7b.system.json_file import parse_json

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_MAX_DIMENSIONS = 8
_MAX_HEADER_BYTES = 1 << 25  # thirty times the size of any real one; the format's own limit is 100 MB


def open_safetensors(path: Path) -> dict[str, StoredTensor]:
    """The tensors of one safetensors file by name. Raises CheckpointError where it is damaged or truncated."""
    return dict(read_safetensors(path)[0])


def read_safetensors(path: Path) -> tuple[dict[str, RawTensor], dict[str, str]]:
    """The tensors as `open_safetensors` gives them, and the header's `__metadata__`."""

    def damaged(reason: str) -> CheckpointError:
        return CheckpointError(f"{path} is damaged or incomplete: {reason}; download it again")

    size = file_size(path)
    if size < 8:
        raise damaged(f"it has {counted(size, 'byte')}")
    header_size = int.from_bytes(read_bytes(path, offset=0, num_bytes=8), "little")
    if header_size > min(size - 8, _MAX_HEADER_BYTES):
        raise damaged(f"its header claims {header_size} bytes of a file of {size}")
    try:
        header = parse_json(bytes(read_bytes(path, offset=8, num_bytes=header_size)), unique=True)
        metadata = {str(key): str(value) for key, value in header.pop("__metadata__", {}).items()}
        entries = {name: _Entry(**entry) for name, entry in header.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise damaged(f"its header is not a table of tensors ({error})") from error
    tensors: dict[str, RawTensor] = {}
    previous_end, previous_name = 0, ""
    for name, entry in sorted(entries.items(), key=lambda item: item[1].data_offsets):
        begin, end = entry.data_offsets
        description = (
            f"tensor {quoted(name)} of shape {quoted(entry.shape)} and {entry.dtype} lies in bytes {begin} to {end}"
        )
        if entry.dtype not in _DTYPES:
            raise UnsupportedError(f"{path}: {description}, which is a type that qwen7b does not read")
        dtype = _DTYPES[entry.dtype]
        if end - begin != math.prod(entry.shape) * dtype.itemsize:
            raise damaged(description)
        if 8 + header_size + end > size:
            raise damaged(f"{description} after the header, but the file ends at {size}")
        if begin < end:  # an empty one overlaps nothing
            if begin < previous_end:
                raise damaged(f"{description}, where tensor {quoted(previous_name)} lies too")
            previous_end, previous_name = end, name
        tensors[name] = RawTensor(path, dtype, tuple(entry.shape) or (1,), 8 + header_size + begin)
    return {name: tensors[name] for name in entries}, metadata


def safetensors_header(
    tensors: Iterable[tuple[str, torch.dtype, Sequence[int]]], *, metadata: Mapping[str, str], alignment: int = 8
) -> tuple[bytes, dict[str, int]]:
    """The header of a file of these tensors, which follow it in order, and the offset of each tensor after the header.

    The header is padded to a multiple of `alignment` bytes.
    """
    entries: dict[str, object] = {"__metadata__": dict(metadata)}
    offsets, end = {}, 0
    for name, dtype, shape in tensors:
        offsets[name] = begin = end
        end += math.prod(shape) * dtype.itemsize
        entries[name] = {"dtype": _NAMES[dtype], "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % alignment)
    return len(text).to_bytes(8, "little") + text, offsets


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    """The header's entry for one tensor. Raises ValueError or TypeError where it is invalid."""

    dtype: str
    shape: list[int]
    data_offsets: list[int]

    def __post_init__(self) -> None:
        if not isinstance(self.dtype, str) or len(self.dtype) > 20:
            raise ValueError(f"a dtype is {quoted(self.dtype)}")
        for numbers, max_length in ((self.shape, _MAX_DIMENSIONS), (self.data_offsets, 2)):
            if not isinstance(numbers, list) or len(numbers) > max_length:
                raise ValueError(f"{quoted(numbers)} should be a list of at most {max_length} numbers")
            if not all(type(number) is int and 0 <= number < 1 << 63 for number in numbers):
                raise ValueError(f"{quoted(numbers)} should hold whole numbers below 2^63")
        if len(self.data_offsets) != 2:
            raise ValueError(f"data_offsets are {quoted(self.data_offsets)}")
