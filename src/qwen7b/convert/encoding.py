"""The number types that a conversion writes, and how rows are encoded in them."""

from __future__ import annotations

import torch
from gguf import GGMLQuantizationType
from gguf.quants import quantize
from torch import Tensor

from qwen7b.convert.target_format import FewerBits
from qwen7b.errors import UnsupportedError

FLOATS = {
    torch.float32: GGMLQuantizationType.F32,
    torch.bfloat16: GGMLQuantizationType.BF16,
    torch.float16: GGMLQuantizationType.F16,
}
"""The types that GGUF and safetensors have in common."""
TORCH_TYPES = {type: dtype for dtype, type in FLOATS.items()}
FEWER_BITS = {name.value: GGMLQuantizationType[name.name] for name in FewerBits}
QUANTIZED = {name: type for name, type in FEWER_BITS.items() if type not in TORCH_TYPES}


def encode(rows: Tensor, type: GGMLQuantizationType, *, name: str) -> bytes:
    """The bytes of some rows of tensor `name`. Raises UnsupportedError where the type cannot hold a number."""
    if type in TORCH_TYPES:
        values = rows.to(TORCH_TYPES[type])
        if not _is_finite(values):
            raise UnsupportedError(_not_finite_message(rows, type, name))
        return values.contiguous().view(torch.uint8).numpy().tobytes()
    if not _is_finite(rows):
        raise UnsupportedError(_not_finite_message(rows, type, name))
    return quantize(rows.float().numpy(), type).tobytes()


def _is_finite(rows: Tensor) -> bool:
    """Whether all numbers are finite; many times as fast as calling isfinite on each of them."""
    return bool(torch.stack(rows.aminmax()).isfinite().all())


def _not_finite_message(rows: Tensor, type: GGMLQuantizationType, name: str) -> str:
    if _is_finite(rows):
        return f"tensor {name!r} holds {rows.abs().max():.3g}, which is too large for {type.name}: convert to bfloat16"
    return f"tensor {name!r} holds infinities or NaN, so the source is damaged: get it again"
