"""Packs a checkpoint's tensors one after the other, a block of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from qwen7b.checkpoint.checkpoint import Checkpoint
from qwen7b.checkpoint.parameters import Parameters, parameters_of
from qwen7b.config import ModelConfig
from qwen7b.errors import CheckpointError
from qwen7b.files.stored import StoredTensor, row_blocks, row_ranges
from qwen7b.kernels import LANES, PackedMatrix
from qwen7b.kernels.matrix import num_blocks, padded_to_groups
from qwen7b.model.parameter_shapes import parameter_shapes
from qwen7b.packed.compensation import Compensation
from qwen7b.packed.formats import Format
from qwen7b.packed.key_balance import pair_sizes
from qwen7b.packed.layout import Write, is_row_embedding, packed_layout, pair_sizes_name, row_embedding, write_matrix
from qwen7b.packed.modules import PackedEmbedding, RowEmbedding
from qwen7b.packed.rounding import CodebookRounder, largest_scales, own_importance, round_to_int8
from qwen7b.system.workers import Workers, workers

_BLOCK_WEIGHTS = 1 << 18
"""The weights of a block, few enough to stay in a core's cache while its scales are searched."""
_COMPENSATED_WEIGHTS = 1 << 23
"""The weights of a block whose inputs are rounded one after the other."""
_MAX_WEIGHT = 127 * torch.finfo(torch.float16).max
"""The largest weight that a half-precision scale can still reach."""
_NOT_FINITE = "holds weights that are infinite, too large or not numbers at all"
_SAMPLE_WEIGHTS = 1 << 18
"""How many weights of a matrix its codebook is chosen by."""


def pack_checkpoint(checkpoint: Checkpoint, format: Format, write: Write) -> None:
    """Write every tensor of the packed model that `packed_layout` lists; one matrix is in memory at a time."""
    parameters = parameters_of(checkpoint)
    with packing_threads() as threads:
        for name in parameter_shapes(checkpoint.config):
            stored, stem = parameters[name], name.removesuffix(".weight")
            if len(stored.shape) == 1:
                write(name, whole(stored, name=name))
            elif name == "embedding.weight":
                pack_embedding(stored, config=checkpoint.config, format=format, threads=threads, write=write)
            else:
                write_matrix(stem, pack_matrix(stored, name=stem, format=format, threads=threads), write)
        write_pair_sizes(parameters, checkpoint.config, write)


def pack_embedding(
    stored: StoredTensor, *, config: ModelConfig, format: Format, threads: Workers, write: Write
) -> PackedEmbedding | RowEmbedding:
    """Pack and write the embedding, and return it."""
    if not is_row_embedding("embedding", config):
        matrix = pack_matrix(stored, name="embedding", format=format, threads=threads)
        write_matrix("embedding", matrix, write)
        return PackedEmbedding(matrix)
    tensors = {
        name: torch.empty(shape, dtype=dtype)
        for name, (dtype, shape) in packed_layout(config, format).items()
        if name.startswith("embedding.")
    }

    def fill(start: int, stop: int) -> None:
        codes, scales = round_to_int8(_prepared(stored.read_rows(start, stop), name="embedding"))
        tensors["embedding.codes"][start:stop], tensors["embedding.scales"][start:stop] = codes, scales

    threads.run(fill, row_ranges(stored))
    for name, tensor in tensors.items():
        write(name, tensor)
    return row_embedding(config, tensors)


def write_pair_sizes(parameters: Parameters, config: ModelConfig, write: Write) -> None:
    """Measure every layer's queries and keys, for the int8 cache; queries that share a key count as their mean."""
    heads, kv_heads, size = config.num_heads, config.num_kv_heads, config.head_size
    for layer in range(config.num_layers):
        stem = f"layers.{layer}.attention"
        norm_name, bias_name = f"layers.{layer}.attention_norm.weight", f"{stem}.qkv.bias"
        norm, bias = whole(parameters[norm_name], name=norm_name), parameters.get(bias_name)
        biases = None if bias is None else whole(bias, name=bias_name)
        rows = (heads + kv_heads) * size
        sizes = torch.cat(
            [
                pair_sizes(
                    parameters[f"{stem}.qkv.weight"].read_rows(start, start + size),
                    None if biases is None else biases[start : start + size],
                    norm=norm,
                    head_size=size,
                )
                for start in range(0, rows, size)
            ]
        )
        if not sizes.isfinite().all():
            is_bias = biases is not None and not biases.square().sum().isfinite()
            raise CheckpointError(
                f"{bias_name if is_bias else f'{stem}.qkv.weight'} holds numbers so large that their squares overflow: "
                "the checkpoint is damaged, download it again"
            )
        queries = sizes[:heads].view(kv_heads, -1, size // 2).square().mean(dim=1).sqrt()
        write(pair_sizes_name(layer), torch.stack((queries, sizes[heads:])))


def whole(stored: StoredTensor, *, name: str) -> Tensor:
    """All of a vector in float32. Raises CheckpointError where a number is not finite."""
    values = torch.empty(stored.shape)
    for start, rows in row_blocks(stored):
        values[start : start + len(rows)] = rows
    if not values.isfinite().all():
        raise CheckpointError(f"{name} {_NOT_FINITE}")
    return values


@contextmanager
def packing_threads() -> Iterator[Workers]:
    """Threads that round, in a context without gradients."""
    # A caller's inference mode would make tensors that the packed model cannot be trained with or written to.
    with torch.inference_mode(False), torch.no_grad(), workers() as threads:
        yield threads


def pack_matrix(
    stored: StoredTensor,
    *,
    name: str,
    format: Format,
    threads: Workers,
    importance: Tensor | None = None,
    compensation: Compensation | None = None,
) -> PackedMatrix:
    """A matrix in a format; `importance` (columns) is the weight of squared errors at each input, if known.

    With a `compensation`, whose inputs are padded to whole groups, rounding errors compensate each other. Raises
    CheckpointError where a weight is no finite number.
    """
    if importance is not None:
        importance = padded_to_groups(importance)
    choose_rounder = partial(_choose_rounder, stored, name=name, format=format, importance=importance)
    [rounder] = threads.results(choose_rounder, [()])

    def round_rows(rows: Tensor) -> tuple[Tensor, Tensor]:
        if rounder is None:
            return round_to_int8(rows)
        if compensation is not None:
            return compensation.round(rows, rounder)
        if format.searches_scales:
            scales, _ = rounder.search_scales(rows, own_importance(rows) if importance is None else importance)
        else:
            scales = largest_scales(rows).half()
        return rounder.round(rows, scales), scales

    num_rows, num_columns = stored.shape
    matrix = PackedMatrix.empty(num_rows, num_columns, codebook=None if rounder is None else rounder.codebook)
    block_weights = _BLOCK_WEIGHTS
    if compensation is not None:  # long columns are worth the many steps, but every thread should get some
        block_weights = min(_COMPENSATED_WEIGHTS, num_rows * num_columns // threads.count)
    step = LANES * max(1, block_weights // (LANES * num_columns))

    def fill(start: int) -> None:
        rows = stored.read_rows(start, min(start + step, num_rows))
        _copy_rows(matrix, start, *round_rows(_prepared(rows, name=name)))

    threads.run(fill, ((start,) for start in range(0, num_rows, step)))
    return matrix


def _copy_rows(matrix: PackedMatrix, start: int, codes: Tensor, scales: Tensor) -> None:
    """Copy codes and scales of consecutive rows into a matrix, at row `start`, a multiple of LANES."""
    packed = PackedMatrix.pack(codes[:, : matrix.num_columns], scales, codebook=matrix.codebook)
    target = matrix.blocks(start // LANES, num_blocks(start + len(codes)))
    target.codes.copy_(packed.codes)
    target.scales.copy_(packed.scales)


def _choose_rounder(
    stored: StoredTensor, *, name: str, format: Format, importance: Tensor | None
) -> CodebookRounder | None:
    """The codebook with the least error over a sample of the rows; None for 8 bits."""
    rounders = [CodebookRounder(codebook) for codebook in format.codebooks_of(name)]
    if len(rounders) < 2:
        return next(iter(rounders), None)
    num_rows, num_columns = stored.shape
    count = min(num_rows, max(1, _SAMPLE_WEIGHTS // num_columns))
    starts = range(0, num_rows, max(1, num_rows // count))
    rows = _prepared(torch.cat([stored.read_rows(start, start + 1) for start in starts]), name=name)
    error_weights = own_importance(rows) if importance is None else importance
    return min(rounders, key=lambda rounder: float(rounder.search_scales(rows, error_weights)[1].sum()))


def _prepared(rows: Tensor, *, name: str) -> Tensor:
    """Rows in float32 and whole groups. Raises CheckpointError where a weight is no finite number."""
    rows = rows.float()
    smallest, largest = rows.aminmax()
    if not (smallest > -_MAX_WEIGHT and largest < _MAX_WEIGHT):  # false for nan
        raise CheckpointError(f"{name} {_NOT_FINITE}")
    return padded_to_groups(rows)
