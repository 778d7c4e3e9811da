"""Tensors in a safetensors file. Format: https://github.com/huggingface/safetensors#format"""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch

from qwen7b.errors import CheckpointError, UnsupportedError
from qwen7b.weights.stored import RawTensor, StoredTensor, read_bytes

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
_MAX_HEADER = 100 << 20  # the format's own bound


def open_safetensors(path: Path) -> dict[str, StoredTensor]:
    """Tensors of one safetensors file by name. Raises CheckpointError where it is damaged or truncated."""
    return dict(read_safetensors(path)[0])


def read_safetensors(path: Path) -> tuple[dict[str, RawTensor], dict[str, str]]:
    """Like `open_safetensors`, and what the header says of the file as a whole."""

    def damaged(reason: str) -> CheckpointError:
        return CheckpointError(f"{path} is damaged or incomplete: {reason}; download it again")

    size = path.stat().st_size
    if size < 8:
        raise damaged(f"it has {size} bytes")
    header_size = int.from_bytes(read_bytes(path, offset=0, num_bytes=8), "little")
    if header_size > min(size - 8, _MAX_HEADER):
        raise damaged(f"its header claims {header_size} bytes of a file of {size}")
    try:
        header = json.loads(read_bytes(path, offset=8, num_bytes=header_size).decode())
        metadata = {str(key): str(value) for key, value in header.get("__metadata__", {}).items()}
        fields: dict[str, tuple[str, tuple[int, ...], int, int]] = {}
        for name, entry in header.items():
            if name != "__metadata__":
                begin, end = map(int, entry["data_offsets"])
                fields[name] = (str(entry["dtype"]), tuple(map(int, entry["shape"])), begin, end)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise damaged("its header is not a table of tensors") from error
    tensors: dict[str, RawTensor] = {}
    for name, (dtype_name, shape, begin, end) in fields.items():
        if dtype_name not in _DTYPES:
            raise UnsupportedError(f"{path}: tensor {name!r} has dtype {dtype_name}, which qwen7b does not read")
        dtype = _DTYPES[dtype_name]
        if any(length < 0 for length in shape) or begin < 0 or end - begin != math.prod(shape) * dtype.itemsize:
            raise damaged(f"tensor {name!r} of shape {list(shape)} and {dtype_name} lies in bytes {begin} to {end}")
        if 8 + header_size + end > size:
            raise damaged(f"tensor {name!r} ends at byte {8 + header_size + end} of a file of {size}")
        tensors[name] = RawTensor(path, dtype, shape or (1,), 8 + header_size + begin)
    return tensors, metadata
