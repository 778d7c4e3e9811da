"""Random GPTQ checkpoints, each with what a slow reading of the format gives."""

from __future__ import annotations

import math
from typing import Any

import torch

Tensors = dict[str, torch.Tensor]


def pack(values: list[list[int]], bits: int) -> torch.Tensor:
    """Each row of small numbers packed into int32 words, the first number in the lowest bits."""
    rows = []
    for row in values:
        words = []
        for start in range(0, len(row), 32 // bits):
            word = sum(value << (bits * place) for place, value in enumerate(row[start : start + 32 // bits]))
            words.append(word - (1 << 32) if word >= 1 << 31 else word)
        rows.append(words)
    return torch.tensor(rows, dtype=torch.int32)


def quantized_linear(shape: tuple[int, int], *, bits: int, group_size: int, act_order: bool, v2: bool) -> Tensors:
    """A random linear layer (out, in) in the packed layout."""
    num_outputs, num_inputs = shape
    size = group_size if group_size > 0 else num_inputs
    num_groups = math.ceil(num_inputs / size)
    values = torch.randint(0, 1 << bits, (num_inputs, num_outputs))
    zeros = torch.randint(0 if v2 else 1, 1 << bits, (num_groups, num_outputs))
    groups = torch.arange(num_inputs) // size
    if act_order:
        groups = groups[torch.randperm(num_inputs)]
    return {
        "qweight": pack(values.t().tolist(), bits).t().contiguous(),
        "qzeros": pack((zeros - (0 if v2 else 1)).tolist(), bits),
        "scales": (torch.rand(num_groups, num_outputs) * 0.05 + 0.01).half(),
        "g_idx": groups.int(),
    }


def naive_weight(packed: Tensors, *, bits: int, v2: bool) -> torch.Tensor:
    """One weight at a time, from the format's description."""
    num_inputs, num_outputs = packed["g_idx"].shape[0], packed["scales"].shape[1]
    qweight, qzeros = packed["qweight"].tolist(), packed["qzeros"].tolist()
    scales, groups = packed["scales"].tolist(), packed["g_idx"].tolist()
    per_word = 32 // bits

    def unpacked(word: int, place: int) -> int:
        return ((word % (1 << 32)) >> (bits * place)) % (1 << bits)

    weight = torch.empty(num_outputs, num_inputs)
    for row in range(num_outputs):
        for column in range(num_inputs):
            value = unpacked(qweight[column // per_word][row], column % per_word)
            group = groups[column]
            zero = unpacked(qzeros[group][row // per_word], row % per_word) + (0 if v2 else 1)
            weight[row, column] = scales[group][row] * (value - zero)
    return weight


def quantize(
    tensors: Tensors, *, bits: int, group_size: int, act_order: bool = False, v2: bool = False
) -> tuple[Tensors, Tensors]:
    """The tensors with their layers' matrices packed, as AutoGPTQ leaves them; and the same unpacked again."""
    packed, plain = dict(tensors), dict(tensors)
    for name, tensor in tensors.items():
        stem = name.removesuffix(".weight")
        if tensor.dim() == 2 and (".h." in name or ".layers." in name):
            parts = quantized_linear(
                (tensor.shape[0], tensor.shape[1]), bits=bits, group_size=group_size, act_order=act_order, v2=v2
            )
            del packed[name]
            packed |= {f"{stem}.{part}": value for part, value in parts.items()}
            packed.setdefault(f"{stem}.bias", torch.zeros(tensor.shape[0], dtype=torch.float16))
            plain[name] = naive_weight(parts, bits=bits, v2=v2)
    return packed, plain


def gptq_config(bits: int, group_size: int, **others: Any) -> dict[str, Any]:
    return {"bits": bits, "group_size": group_size, "sym": True, "desc_act": False, "quant_method": "gptq", **others}
