"""The files of a target before they are written: their headers, and the place of each tensor's bytes after them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFValueType, GGUFWriter

from qwen7b.convert.encoding import TORCH_TYPES
from qwen7b.errors import UnsupportedError, quoted
from qwen7b.files.safetensors_file import safetensors_header
from qwen7b.files.stored import StoredTensor

MAX_SHARD_BYTES = 4_000_000_000
_GGUF_ALIGNMENT = 32
_MIN_FLOAT, _MAX_FLOAT = 2.0**-126, (2 - 2.0**-23) * 2.0**127
"""The smallest and the largest positive float32 with full precision."""


@dataclass(frozen=True, slots=True)
class TargetTensor:
    """A tensor of the target: its name and type there, and the values to write."""

    name: str
    parameter: str
    """The parameter of our model whose rows the tensor holds."""
    values: StoredTensor
    type: GGMLQuantizationType

    @property
    def num_weights(self) -> int:
        return math.prod(self.values.shape)

    @property
    def num_bytes(self) -> int:
        block_size, block_bytes = GGML_QUANT_SIZES[self.type]
        return self.num_weights // block_size * block_bytes


@dataclass(frozen=True, slots=True)
class TargetFile:
    """A file of the target: a header, then the tensors in order, each padded to the alignment."""

    name: str
    header: bytes
    tensors: Sequence[TargetTensor]
    alignment: int = 1

    def padded(self, size: int) -> int:
        return -(-size // self.alignment) * self.alignment

    @property
    def num_bytes(self) -> int:
        return len(self.header) + sum(self.padded(tensor.num_bytes) for tensor in self.tensors)


def safetensors_files(tensors: Iterable[TargetTensor]) -> list[TargetFile]:
    """A single model.safetensors, or shards with at most MAX_SHARD_BYTES of tensors each."""
    shards: list[list[TargetTensor]] = []
    bytes_left = 0
    for tensor in tensors:
        if not shards or tensor.num_bytes > bytes_left:
            shards.append([])
            bytes_left = MAX_SHARD_BYTES
        shards[-1].append(tensor)
        bytes_left -= tensor.num_bytes
    if len(shards) == 1:
        return [TargetFile("model.safetensors", _safetensors_header(shards[0]), shards[0])]
    return [
        TargetFile(f"model-{number:05}-of-{len(shards):05}.safetensors", _safetensors_header(shard), shard)
        for number, shard in enumerate(shards, start=1)
    ]


def safetensors_index(files: Sequence[TargetFile]) -> dict[str, Any]:
    """The content of model.safetensors.index.json."""
    return {
        "metadata": {"total_size": sum(tensor.num_bytes for file in files for tensor in file.tensors)},
        "weight_map": {tensor.name: file.name for file in files for tensor in file.tensors},
    }


def _safetensors_header(tensors: Sequence[TargetTensor]) -> bytes:
    listed = [(tensor.name, TORCH_TYPES[tensor.type], tensor.values.shape) for tensor in tensors]
    return safetensors_header(listed, metadata={"format": "pt"})[0]


def _check_fits(key: str, value: object) -> None:
    """Raise UnsupportedError for a number that GGUF's readers cannot take in 32 bits without a change."""
    if isinstance(value, int):
        fits = 0 <= value < 1 << 32
    elif isinstance(value, float):
        fits = value == 0 or _MIN_FLOAT <= abs(value) <= _MAX_FLOAT
    else:
        return
    if not fits:
        raise UnsupportedError(
            f"{key} is {quoted(value)}, which does not fit the 32 bits that GGUF has for it: correct the checkpoint's "
            "config, or convert to qwen2 or qwen"
        )


def gguf_file(
    name: str, tensors: Sequence[TargetTensor], *, architecture: str, metadata: Mapping[str, Any]
) -> TargetFile:
    """A GGUF file; whole numbers in the metadata have 32 bits, as llama.cpp expects."""
    writer = GGUFWriter(None, architecture)
    for key, value in metadata.items():
        _check_fits(key, value)
        if isinstance(value, bool) or not isinstance(value, int):
            writer.add_key_value(key, value, GGUFValueType.get_type(value))
        else:
            writer.add_uint32(key, value)
    for tensor in tensors:
        writer.add_tensor_info(
            tensor.name, tensor.values.shape, np.dtype(np.float32), tensor.num_bytes, raw_dtype=tensor.type
        )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "header"
        writer.write_header_to_file(path)
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        writer.close()
        header = path.read_bytes()
    return TargetFile(name, header + bytes(-len(header) % _GGUF_ALIGNMENT), tensors, alignment=_GGUF_ALIGNMENT)
