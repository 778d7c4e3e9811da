"""Number types that a conversion writes, and the bytes of rows in them."""

from __future__ import annotations

import math

import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import quantize
from torch import Tensor

from qwen7b.errors import UnsupportedError

FLOATS = {
    torch.float32: GGMLQuantizationType.F32,
    torch.bfloat16: GGMLQuantizationType.BF16,
    torch.float16: GGMLQuantizationType.F16,
}
"""Named alike by GGUF and safetensors."""
TORCH_TYPES = {type: dtype for dtype, type in FLOATS.items()}
QUANTIZED = {name: GGMLQuantizationType[name.upper()] for name in ("q8_0", "q5_1", "q5_0", "q4_1", "q4_0")}
"""What the gguf package can quantize to."""


def num_bytes(shape: tuple[int, ...], type: GGMLQuantizationType) -> int:
    block_size, block_bytes = GGML_QUANT_SIZES[type]
    return math.prod(shape) // block_size * block_bytes


def encode(rows: Tensor, type: GGMLQuantizationType, *, name: str) -> memoryview:
    """The bytes of some rows of tensor `name`. Raises UnsupportedError where the type cannot hold a number."""
    if type in TORCH_TYPES:
        values = rows.to(TORCH_TYPES[type])
        if not values.isfinite().all():
            raise UnsupportedError(_not_finite(rows, type, name))
        return memoryview(values.contiguous().view(torch.uint8).numpy()).cast("B")
    if not rows.isfinite().all():
        raise UnsupportedError(_not_finite(rows, type, name))
    return memoryview(quantize(rows.float().numpy(), type)).cast("B")


def _not_finite(rows: Tensor, type: GGMLQuantizationType, name: str) -> str:
    if rows.isfinite().all():
        return f"tensor {name!r} holds {rows.abs().max():.3g}, which is too large for {type.name}: convert to bfloat16"
    return f"tensor {name!r} holds numbers that are infinite or not numbers at all: the source is damaged"
