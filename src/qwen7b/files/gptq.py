"""GPTQ checkpoints (Qwen-7B-Chat-Int4 and -Int8): packed integers in, rows of float weights out.

A linear layer of (out, in) is stored as `qweight` int32 (in*bits/32, out), the first input lowest in a word; `qzeros`
int32 (groups, out*bits/32), packed alike; `scales` float16 (groups, out); and `g_idx` int32 (in), the group of each
input. A weight is scale * (q - zero), which is exact in float32. Method: https://arxiv.org/abs/2210.17323; format:
https://github.com/AutoGPTQ/AutoGPTQ/blob/main/auto_gptq/nn_modules/qlinear/qlinear_cuda_old.py
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from qwen7b.config.fields import Fields
from qwen7b.errors import CheckpointError, UnsupportedError, quoted
from qwen7b.files.stored import RawTensor, StoredTensor
from qwen7b.system.json_file import read_json

_WORD_BITS = 32
_TENSORS = ("qweight", "qzeros", "scales", "g_idx")
_ADVICE = "take the checkpoint in its original precision, as GPTQ (Int4, Int8) or as GGUF"


@dataclass(frozen=True, kw_only=True, slots=True)
class GPTQ:
    """How the linear layers of a folder are quantized."""

    bits: int
    group_size: int | None
    """Inputs that share a scale; None for all of them."""
    zero_offset: int
    """The number that was subtracted from the zeros before they were stored: 1, but 0 in "gptq_v2" files."""
    source: str


def folder_quantization(folder: Path, config: Mapping[str, Any]) -> GPTQ | None:
    """The quantization that a folder declares, in config.json (whose fields are `config`) or in a file of its own.

    None where it declares none. Raises UnsupportedError for anything but GPTQ with 4 or 8 bits.
    """
    path = folder / "config.json"
    fields: Any = config.get("quantization_config")
    if fields is None:
        names = ("quantize_config.json", "quant_config.json")  # of AutoGPTQ, and of AutoAWQ
        files = [file for name in names if os.path.lexists(file := folder / name)]
        if not files:
            return None
        path = files[0]
        fields = read_json(path)
    if not isinstance(fields, dict):
        raise CheckpointError(f"{path}: quantization_config must be an object, found {quoted(fields)}")
    return _gptq(Fields(fields, source=str(path)))


def _gptq(settings: Fields) -> GPTQ:
    fields, source = settings.fields, settings.source
    method = fields.get("quant_method") or _method_of(fields)
    if method != "gptq":
        raise UnsupportedError(
            f"{source}: the weights are quantized by {method}, which qwen7b does not read: {_ADVICE}"
        )
    layout = "marlin" if fields.get("is_marlin_format") else fields.get("checkpoint_format") or "gptq"
    if layout not in ("gptq", "gptq_v2"):
        raise UnsupportedError(f"{source}: the GPTQ weights are laid out for {quoted(layout)}: {_ADVICE}")
    bits = settings.number(int, "bits")
    if bits not in (4, 8):
        raise UnsupportedError(f"{source}: GPTQ of {bits} bits is not supported, only 4 and 8 are: {_ADVICE}")
    group_size = settings.number(int, "group_size", default=-1)
    return GPTQ(
        bits=bits,
        group_size=group_size if group_size > 0 else None,
        zero_offset=1 if layout == "gptq" else 0,
        source=source,
    )


def _method_of(fields: Mapping[str, Any]) -> str:
    """The quantization method of a file that is too old to name it."""
    if "load_in_4bit" in fields or "load_in_8bit" in fields:
        return "bitsandbytes"
    return "awq" if "w_bit" in fields else "gptq"


def dequantized(tensors: Mapping[str, StoredTensor], quantization: GPTQ | None) -> dict[str, StoredTensor]:
    """The tensors, with each `X.qweight` and its companions replaced by an `X.weight`."""
    result = dict(tensors)
    for stem in [name.removesuffix(".qweight") for name in tensors if name.endswith(".qweight")]:
        if quantization is None:
            raise CheckpointError(
                f"{stem}.qweight is quantized, but neither config.json nor quantize_config.json says how: "
                "take these files from the model's original repository"
            )
        parts = {part: result.pop(f"{stem}.{part}", None) for part in _TENSORS}
        result[f"{stem}.weight"] = _open_linear(stem, parts, quantization)
    return result


def _open_linear(stem: str, parts: Mapping[str, StoredTensor | None], quantization: GPTQ) -> GPTQTensor:
    for part, stored in parts.items():
        if stored is None and part != "g_idx":  # the oldest files have no g_idx
            raise CheckpointError(f"{stem}.{part} is missing beside {stem}.qweight: download the checkpoint again")
    qweight, qzeros, scales, g_idx = (parts[part] for part in _TENSORS)
    if not (isinstance(qweight, RawTensor) and isinstance(qzeros, RawTensor) and isinstance(scales, RawTensor)):
        raise UnsupportedError(f"{stem}.qweight and its companions lie transposed in their file: {_ADVICE}")
    if {qweight.dtype, qzeros.dtype} != {torch.int32} or len(qweight.shape) != 2 or 0 in qweight.shape:
        raise CheckpointError(
            f"{stem}.qweight is of shape {list(qweight.shape)} and {qweight.dtype}, but GPTQ packs a matrix into "
            "int32: download the checkpoint again"
        )
    per_word = _WORD_BITS // quantization.bits
    num_inputs, num_outputs = qweight.shape[0] * per_word, qweight.shape[1]
    num_groups = -(-num_inputs // (quantization.group_size or num_inputs))
    expected: dict[str, tuple[int, ...]] = {
        "qzeros": (num_groups, num_outputs // per_word),
        "scales": (num_groups, num_outputs),
    }
    if g_idx is not None:
        expected["g_idx"] = (num_inputs,)
    for part, shape in expected.items():
        stored = parts[part]
        assert stored is not None
        if stored.shape != shape:
            raise CheckpointError(
                f"{stem}.{part} is of shape {list(stored.shape)}, but {quantization.source} asks for {list(shape)}: "
                "its bits or group_size belong to another checkpoint, so take both from the same repository"
            )
    return GPTQTensor(stem=stem, quantization=quantization, qweight=qweight, qzeros=qzeros, scales=scales, g_idx=g_idx)


@dataclass(frozen=True, kw_only=True, slots=True)
class GPTQTensor:
    """One linear layer's weight; a block of its rows is a stripe of columns in the file."""

    stem: str
    quantization: GPTQ
    qweight: RawTensor
    qzeros: RawTensor
    scales: RawTensor
    g_idx: StoredTensor | None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.qweight.shape[1], self.qweight.shape[0] * (_WORD_BITS // self.quantization.bits)

    def read_rows(self, start: int, stop: int) -> Tensor:
        bits, mask = self.quantization.bits, (1 << self.quantization.bits) - 1
        per_word = _WORD_BITS // bits
        shifts = torch.arange(0, _WORD_BITS, bits, dtype=torch.int32)
        values = (self.qweight.read_columns(start, stop)[:, None, :] >> shifts[:, None]).flatten(0, 1)  # (in, rows)
        values &= mask
        first_word = start // per_word
        zeros = (self.qzeros.read_columns(first_word, -(-stop // per_word))[:, :, None] >> shifts).flatten(1)
        zeros = zeros[:, start - first_word * per_word :][:, : stop - start]  # (groups, rows)
        zeros = zeros + self.quantization.zero_offset & mask
        scales = self.scales.read_columns(start, stop).float()
        groups = self._groups()
        values -= zeros.index_select(0, groups)
        return (values * scales.index_select(0, groups)).t()

    def _groups(self) -> Tensor:
        """The group of each input. A g_idx of zeros only means, in some programs' files, that nothing was reordered."""
        num_inputs, num_groups = self.shape[1], self.scales.shape[0]
        if self.g_idx is not None:
            groups = self.g_idx.read_rows(0, num_inputs).long()
            if int(groups.min()) < 0 or int(groups.max()) >= num_groups:
                raise CheckpointError(
                    f"{self.stem}.g_idx names group {int(groups.max())} of {num_groups}: download the checkpoint again"
                )
            if groups.any():
                return groups
        return torch.arange(num_inputs) // (self.quantization.group_size or num_inputs)
