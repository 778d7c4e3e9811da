"""Loads a model with packed weights, from a checkpoint that is packed already or is packed now."""

from __future__ import annotations

import torch

from qwen7b.checkpoint.checkpoint import Checkpoint
from qwen7b.checkpoint.packed_file import layout_bytes
from qwen7b.checkpoint.packed_folder import WEIGHTS
from qwen7b.config import ModelConfig
from qwen7b.errors import ResourceError, SettingError
from qwen7b.model import Transformer
from qwen7b.packed.formats import FORMATS, Format, find_format
from qwen7b.packed.layout import packed_layout
from qwen7b.packed.packed_model import packed_model
from qwen7b.packing.automatic import packed_in_memory
from qwen7b.packing.kept_weights import kept_tensors
from qwen7b.packing.verdicts import check_once
from qwen7b.system.memory import available_bytes, gigabytes
from qwen7b.system.progress import say

AUTO = "auto"
_ROOM = 1.25
"""The memory that "auto" requires, relative to the weights, to leave room for a long context and everything else."""


def load_packed(
    checkpoint: Checkpoint,
    quantize: str | None,
    *,
    config: ModelConfig,
    keep: bool,
    dtype: torch.dtype | str | None,
    device: torch.device,
) -> Transformer:
    """The packed model of a checkpoint; `quantize` may be None where it is packed already.

    `config` is the model's. The weights are packed by the checkpoint's own, so that they suit every other.
    """
    if device.type != "cpu":
        raise SettingError(
            f"packed weights run on the CPU only, found device {str(device)!r}: leave out device, or quantize to "
            "compute there"
        )
    if dtype not in (None, torch.float32, "float32"):
        raise SettingError(f"packed weights compute in float32, found dtype {dtype}: leave out dtype or quantize")
    if checkpoint.packed is not None:
        format = checkpoint.packed.format
        if quantize not in (None, AUTO, format.name):
            find_format(quantize, other_names=[AUTO])
            raise SettingError(
                f"{checkpoint.path} is packed as {format.name} already: quantize the original checkpoint as {quantize}"
            )
        _require_memory(checkpoint.config, format)
        check_once(checkpoint.path / WEIGHTS)
        return packed_model(config, checkpoint.packed.tensors, format=format, path=checkpoint.path / WEIGHTS)
    if quantize == AUTO:
        format = choose_format(checkpoint.config)
    else:
        format = find_format(quantize, other_names=[AUTO])
        _require_memory(checkpoint.config, format)
    tensors, path = kept_tensors(checkpoint, format) if keep else (packed_in_memory(checkpoint, format), None)
    return packed_model(config, tensors, format=format, path=path)


def choose_format(config: ModelConfig) -> Format:
    """The format that "auto" means: q8 where it leaves room, else q4. Raises ResourceError where neither fits."""
    available = available_bytes(torch.device("cpu"))
    format = FORMATS["q8" if packed_bytes(config, "q8") * _ROOM <= available else "q4"]
    _require_memory(config, format)
    size = gigabytes(packed_bytes(config, format.name))
    say(f"Weights as {format.name}: {size}, of {gigabytes(available)} of free memory; --quantize none keeps floats.")
    return format


def _require_memory(config: ModelConfig, format: Format) -> None:
    available = available_bytes(torch.device("cpu"))
    needed = packed_bytes(config, format.name)
    if needed <= available:
        return
    smallest = packed_bytes(config, "q4")
    remedy = (
        f"load it as q4 ({gigabytes(smallest)})"
        if smallest <= available
        else "free some memory or load a smaller model"
    )
    raise ResourceError(
        f"the model needs {gigabytes(needed)} as {format.name} and {gigabytes(available)} of memory are free: {remedy}"
    )


def packed_bytes(config: ModelConfig, format: str) -> int:
    """Bytes of a model's weights in a format."""
    return layout_bytes(packed_layout(config, FORMATS[format]))
