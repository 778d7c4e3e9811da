"""Tensors in a GGUF file, of every type that the gguf package can decode."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize
from torch import Tensor

from qwen7b.errors import CheckpointError, UnsupportedError, quoted
from qwen7b.files.gguf_header import GGUFTensorInfo
from qwen7b.files.gguf_parts import read_gguf_parts
from qwen7b.files.stored import StoredTensor, read_bytes


@dataclass(frozen=True, slots=True)
class GGUFTensor:
    """A tensor in a GGUF file, decoded when it is read."""

    path: Path
    info: GGUFTensorInfo

    @property
    def shape(self) -> tuple[int, ...]:
        return self.info.shape

    def read_rows(self, start: int, stop: int) -> Tensor:
        if len(self.shape) == 1 and GGML_QUANT_SIZES[self.info.type][0] > 1:  # blocks span rows
            return replace(self, info=replace(self.info, shape=(1, *self.shape))).read_rows(0, 1)[0, start:stop]
        row_bytes = self.info.num_bytes // self.shape[0]
        data = read_bytes(self.path, offset=self.info.offset + start * row_bytes, num_bytes=(stop - start) * row_bytes)
        if self.info.type == GGMLQuantizationType.BF16:
            return torch.frombuffer(data, dtype=torch.bfloat16).view(-1, *self.shape[1:])
        raw = np.frombuffer(data, dtype=np.uint8).reshape(stop - start, row_bytes)
        if self.info.type in (GGMLQuantizationType.F32, GGMLQuantizationType.F16, GGMLQuantizationType.F64):
            values = raw.view({"F32": "<f4", "F16": "<f2", "F64": "<f8"}[self.info.type.name])
        else:
            try:
                values = dequantize(raw, self.info.type)
            except NotImplementedError:
                raise UnsupportedError(
                    f"{self.path}: tensor {quoted(self.info.name)} is quantized as {self.info.type.name}, which the "
                    "installed gguf package cannot decode: use a file of another type, such as Q4_K_M or Q8_0"
                ) from None
        return torch.from_numpy(values).reshape(-1, *self.shape[1:])


def open_gguf(path: Path) -> tuple[Path, dict[str, Any], dict[str, StoredTensor]]:
    """The first part, the metadata and the tensors by name of the model that a GGUF file holds or is a part of."""
    parts = read_gguf_parts(path, vocabulary=False)
    tensors: dict[str, StoredTensor] = {}
    for part, header in parts:
        if duplicates := tensors.keys() & header.tensors.keys():
            raise CheckpointError(
                f"{part} and an earlier part both have a tensor {min(duplicates)!r:.100}: take all from one source"
            )
        tensors |= {name: GGUFTensor(part, info) for name, info in header.tensors.items()}
    first, header = parts[0]
    return first, header.metadata, tensors
