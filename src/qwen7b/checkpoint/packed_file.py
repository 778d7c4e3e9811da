"""Packed tensors in a safetensors file, which is mapped rather than read: its pages are read when they are used.

Every tensor whose size is a multiple of 64 bytes is aligned to 64 bytes, for the kernels; the few others come last. The
metadata has what was packed in which way, the model's settings, and a checksum of each tensor; files of earlier
releases lack the last two.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from qwen7b.checkpoint.own_config import config_fields, config_from
from qwen7b.config import ModelConfig
from qwen7b.errors import CheckpointError, quoted
from qwen7b.files.checksums import checksum, checksum_fields
from qwen7b.files.safetensors_file import read_safetensors, safetensors_header
from qwen7b.files.stored import map_file
from qwen7b.packed.formats import Format
from qwen7b.packed.layout import Layout, Write, packed_layout
from qwen7b.packed.version import VERSION, VERSION_FIELD

_ALIGNMENT = 64
_CONFIG_FIELD = "model"


def layout_bytes(layout: Layout) -> int:
    """Bytes of a packed model's tensors."""
    return sum(_size(*entry) for entry in layout.values())


@contextmanager
def writing_packed(path: Path, *, config: ModelConfig, format: Format, source: str) -> Iterator[Write]:
    """Yield a function that takes each tensor of a packed model once, in any order; `source` is what they come from.

    The file is complete only when this returns.
    """
    layout = packed_layout(config, format)
    ordered = sorted(layout, key=lambda name: _size(*layout[name]) % _ALIGNMENT != 0)
    entries = [(name, *layout[name]) for name in ordered]
    metadata = {VERSION_FIELD: str(VERSION), "weight_format": format.name, "source": source}
    metadata[_CONFIG_FIELD] = json.dumps(config_fields(config))
    sums: dict[str, str] = {}

    def header() -> tuple[bytes, dict[str, int]]:
        return safetensors_header(entries, metadata=metadata | checksum_fields(layout, sums), alignment=_ALIGNMENT)

    begin, offsets = len(header()[0]), header()[1]
    with path.open("wb") as file:

        def write(name: str, tensor: Tensor) -> None:
            assert (tensor.dtype, tuple(tensor.shape)) == layout[name], name
            assert name not in sums, name
            data = tensor.contiguous().view(torch.uint8).numpy().data
            sums[name] = checksum(data)
            file.seek(begin + offsets[name])
            file.write(data)

        yield write
        assert sums.keys() == layout.keys(), layout.keys() - sums.keys()
        file.seek(0)
        file.write(header()[0])
        file.flush()
        os.fsync(file.fileno())


def _size(dtype: torch.dtype, shape: tuple[int, ...]) -> int:
    return math.prod(shape) * dtype.itemsize


def map_packed(path: Path, *, config: ModelConfig, format: Format, source: str | None = None) -> dict[str, Tensor]:
    """The tensors of a packed file, mapped from it.

    `source` is what it should be made from, which settles the config; without one, as in a folder, the config must be
    the one that it was written with. Raises CheckpointError where the file is truncated, of another version, format or
    model, or made from something else. What its numbers are is not looked at: see `check_tensors`.
    """
    stored, metadata = read_safetensors(path)
    version, format_name = metadata.get(VERSION_FIELD), metadata.get("weight_format")
    if (version, format_name) != (str(VERSION), format.name):
        raise CheckpointError(
            f"{path} holds weights of format {format_name}, version {version}, but this qwen7b reads {format.name} of "
            f"version {VERSION}: quantize the original checkpoint again"
        )
    if source not in (None, metadata.get("source")):
        raise CheckpointError(f"{path} was made from another checkpoint than {source}")
    layout = packed_layout(config, format)
    # A vector of no elements has the shape (1,) in stored tensors; no packed one has none.
    if {name: (tensor.dtype, tensor.shape) for name, tensor in stored.items()} != layout:
        raise CheckpointError(f"{path} does not hold the tensors of its config: quantize the original checkpoint again")
    if source is None and _CONFIG_FIELD in metadata:
        _check_config(path, config, metadata[_CONFIG_FIELD])
    pages = map_file(path)
    return {name: tensor.view(pages) for name, tensor in stored.items()}


def _check_config(path: Path, config: ModelConfig, written: str) -> None:
    """Raise CheckpointError unless the config is the one that was written with the weights."""
    try:
        expected = config_fields(config_from(json.loads(written)))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: its model settings are invalid ({error}); copy it again") from error
    for name, actual in config_fields(config).items():
        if actual != expected[name]:
            raise CheckpointError(
                f"{path.with_name('config.json')} is damaged or edited: {name} is {quoted(actual)}, and the weights "
                f"were written with {quoted(expected[name])}; copy it again, or give other settings to each run"
            )
