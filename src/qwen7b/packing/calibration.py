"""Packs a checkpoint while a text runs through it, so that rounding errors fall where they matter least for that text.

The complete model is never in memory: the embedding and each linear layer are packed when the text reaches them, and
the next layer is packed for the outputs of the packed ones. The text passes once.
"""

from __future__ import annotations

from importlib.resources import files

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qwen7b.checkpoint.checkpoint import Checkpoint
from qwen7b.checkpoint.parameters import parameters_of
from qwen7b.config import ModelConfig
from qwen7b.errors import UnsupportedError
from qwen7b.files.stored import StoredTensor
from qwen7b.kernels import LANES, PackedMatrix
from qwen7b.kernels.matrix import padded_to_groups
from qwen7b.model.empty_model import empty_model
from qwen7b.model.rebuilding import rebuild
from qwen7b.packed.compensation import Compensation
from qwen7b.packed.formats import Format
from qwen7b.packed.layout import Write, write_matrix
from qwen7b.packing.packing import pack_embedding, pack_matrix, packing_threads, whole, write_pair_sizes
from qwen7b.system.workers import Workers
from qwen7b.text import Tokenizer

_SEQUENCE_LENGTH = 1024
_MAX_TOKENS = 10_000
"""The tokens of the text, which pass in one batch: in a 7B model a feed-forward's activations take 1 to 2 GB."""
_MIN_IMPORTANCE = 0.01
"""The fraction of the mean importance that is added to each input's, as unused inputs may matter in other texts."""
_BLOCK_ROWS = 64 * LANES


def default_text() -> str:
    """The built-in calibration text: English, Chinese and code, some of it chat."""
    return files("qwen7b.packing").joinpath("calibration.txt").read_text("utf-8")


def token_sequences(tokenizer: Tokenizer, text: str, *, trained_length: int) -> Tensor:
    """The ids of a text's beginning as sequences of one length, (B, T)."""
    ids = torch.tensor(tokenizer.encode(text)[:_MAX_TOKENS])
    count = -(-len(ids) // min(_SEQUENCE_LENGTH, trained_length))
    return ids[: len(ids) // count * count].view(count, -1)


def pack_calibrated(checkpoint: Checkpoint, format: Format, ids_BT: Tensor, write: Write, *, compensate: bool) -> None:
    """Pack like `pack_checkpoint`, for what the ids run through: scales of least error over their activations, or with
    `compensate` GPTQ."""
    config, parameters = checkpoint.config, parameters_of(checkpoint)

    def write_vector(name: str) -> Tensor:
        values = whole(parameters[name], name=name)
        write(name, values)
        return values

    with packing_threads() as threads:

        def linear(name: str, module: nn.Linear) -> nn.Module:
            if name == "head":  # the text does not reach it
                return module
            bias = write_vector(f"{name}.bias") if f"{name}.bias" in parameters else None
            weight = parameters[f"{name}.weight"]
            return _Linear(name, weight, bias, format=format, threads=threads, write=write, compensate=compensate)

        model = empty_model(config)
        rebuild(
            model,
            embedding=lambda name, module: _Embedding(parameters[f"{name}.weight"], config, format, threads, write),
            linear=linear,
            norm=write_vector,
        )
        write_pair_sizes(parameters, config, write)
        model.eval().hidden(ids_BT)
        if not config.tied_head:
            head = pack_matrix(parameters["head.weight"], name="head", format=format, threads=threads)
            write_matrix("head", head, write)


class _Embedding(nn.Module):
    """An embedding that packs itself when it is used, and keeps nothing."""

    def __init__(
        self, stored: StoredTensor, config: ModelConfig, format: Format, threads: Workers, write: Write
    ) -> None:
        super().__init__()
        self.stored, self.config, self.format, self.threads, self.write = stored, config, format, threads, write

    def forward(self, ids: Tensor) -> Tensor:
        embedding = pack_embedding(
            self.stored, config=self.config, format=self.format, threads=self.threads, write=self.write
        )
        return embedding(ids)  # type: ignore[no-any-return]


class _Linear(nn.Module):
    """A linear layer that packs itself for the inputs it receives, and computes with the packed weights."""

    def __init__(
        self,
        name: str,
        stored: StoredTensor,
        bias: Tensor | None,
        *,
        format: Format,
        threads: Workers,
        write: Write,
        compensate: bool,
    ) -> None:
        super().__init__()
        self.name, self.stored, self.bias = name, stored, bias
        self.format, self.threads, self.write, self.compensate = format, threads, write, compensate

    def forward(self, x: Tensor) -> Tensor:
        matrix = self._pack(x.flatten(0, -2))
        write_matrix(self.name, matrix, self.write)
        y = x.new_empty(*x.shape[:-1], matrix.num_rows)
        for start in range(0, matrix.num_rows, _BLOCK_ROWS):
            rows = matrix.dequantize_rows(start, min(start + _BLOCK_ROWS, matrix.num_rows))
            y[..., start : start + len(rows)] = F.linear(x, rows)
        return y if self.bias is None else y.add_(self.bias)

    def _pack(self, inputs: Tensor) -> PackedMatrix:
        compensation = None
        try:
            if not inputs.square().sum().isfinite():
                raise OverflowError
            if self.compensate:
                compensation = Compensation(padded_to_groups(inputs))
        except (OverflowError, RuntimeError) as error:  # torch's LinAlgError is one
            raise UnsupportedError(
                f"{self.name} gets numbers from the calibration text that are too large to weigh: a tensor of the "
                "layers before it is damaged, or quantize without a text (--data-free)"
            ) from error
        importance = inputs.square().mean(0)
        importance += _MIN_IMPORTANCE * importance.mean()
        return pack_matrix(
            self.stored,
            name=self.name,
            format=self.format,
            threads=self.threads,
            importance=importance,
            compensation=compensation,
        )
