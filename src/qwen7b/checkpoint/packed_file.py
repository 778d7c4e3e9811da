"""Packed tensors in a safetensors file, which is mapped rather than read: its pages come in when they are used.

Every tensor whose size is a multiple of 64 bytes begins at one, as the kernels like; the few others come last.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from qwen7b.config import ModelConfig
from qwen7b.errors import CheckpointError
from qwen7b.files.safetensors_file import read_safetensors, safetensors_header
from qwen7b.files.stored import map_file
from qwen7b.packed.formats import Format
from qwen7b.packed.layout import Layout, Write, packed_layout
from qwen7b.packed.version import VERSION, VERSION_FIELD

_ALIGNMENT = 64


def layout_bytes(layout: Layout) -> int:
    """Bytes of a packed model's tensors."""
    return sum(_size(*entry) for entry in layout.values())


@contextmanager
def writing_packed(path: Path, *, config: ModelConfig, format: Format, source: str) -> Iterator[Write]:
    """Yield a function that takes each tensor of a packed model once, in any order; `source` is what they come from.

    The file is whole when this returns, and only then.
    """
    layout = packed_layout(config, format)
    ordered = sorted(layout, key=lambda name: _size(*layout[name]) % _ALIGNMENT != 0)
    header, offsets = safetensors_header(
        [(name, *layout[name]) for name in ordered],
        metadata={VERSION_FIELD: str(VERSION), "weight_format": format.name, "source": source},
        alignment=_ALIGNMENT,
    )
    missing = set(layout)
    with path.open("wb") as file:
        file.write(header)

        def write(name: str, tensor: Tensor) -> None:
            assert (tensor.dtype, tuple(tensor.shape)) == layout[name], name
            missing.remove(name)
            file.seek(len(header) + offsets[name])
            file.write(tensor.contiguous().view(torch.uint8).numpy().data)

        yield write
        assert not missing, missing
        file.flush()
        os.fsync(file.fileno())


def _size(dtype: torch.dtype, shape: tuple[int, ...]) -> int:
    return math.prod(shape) * dtype.itemsize


def map_packed(path: Path, *, config: ModelConfig, format: Format, source: str | None = None) -> dict[str, Tensor]:
    """The tensors of a packed file; their memory is the file's.

    Raises CheckpointError where it is truncated, of another version, format or model, or made from another `source`.
    """
    stored, metadata = read_safetensors(path)
    found = (metadata.get(VERSION_FIELD), metadata.get("weight_format"))
    if found != (str(VERSION), format.name):
        raise CheckpointError(
            f"{path} holds weights of format {found[1]}, version {found[0]}, and {format.name}, version {VERSION}, is "
            "what can be read: quantize the original checkpoint again"
        )
    if source not in (None, metadata.get("source")):
        raise CheckpointError(f"{path} was made from another checkpoint than {source}")
    layout = packed_layout(config, format)
    # A vector of no elements has the shape (1,) in stored tensors; no packed one has none.
    if {name: (tensor.dtype, tensor.shape) for name, tensor in stored.items()} != layout:
        raise CheckpointError(f"{path} does not hold the tensors of its config: quantize the original checkpoint again")
    pages = map_file(path)
    return {name: tensor.view(pages) for name, tensor in stored.items()}
