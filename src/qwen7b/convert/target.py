"""A checkpoint's parameters as another format's tensors.

    source's tensors -> parameters -> the target's parameters -> the target's tensors

Each step is a table of views; no number is read before the last one is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from qwen7b.checkpoint.parameters import Parameters
from qwen7b.checkpoint.position_fields import can_express_windows
from qwen7b.checkpoint.tensor_names import Names, tensors_of
from qwen7b.config import Family, ModelConfig
from qwen7b.config.rotary_scaling import Yarn
from qwen7b.convert.target_format import TargetFormat
from qwen7b.files.stored import StoredTensor, row_blocks
from qwen7b.files.views import SelectedRows, Zeros, dtype_of


def target_config(source: ModelConfig, parameters: Parameters, *, to: TargetFormat) -> ModelConfig:
    """The config of the same model in another format. This compares tensors to find heads that are equal."""
    if to is TargetFormat.QWEN:
        return replace(source, family=Family.QWEN, num_kv_heads=source.num_heads, qkv_bias=True, tied_head=False)
    windows = (
        source.attention_windows if to is TargetFormat.QWEN2 and can_express_windows(source.attention_windows) else None
    )
    if source.family is not Family.QWEN:
        source = replace(source, attention_windows=windows)
        return source if to is TargetFormat.GGUF else replace(source, family=Family.QWEN2, qkv_bias=True)
    # Without dynamic NTK and LogN the model is the same only up to its trained length.
    scaled = source.dynamic_ntk or source.logn
    context_length = min(source.context_length, source.trained_length) if scaled else source.context_length
    trained_length = context_length
    if isinstance(source.rotary_scaling, Yarn):  # YaRN states both lengths
        trained_length, context_length = source.rotary_scaling.original_length, source.context_length
    return replace(
        source,
        family=Family.QWEN2,
        num_kv_heads=_fewest_kv_heads(source, parameters),
        tied_head=source.tied_head or _equal(parameters["head.weight"], parameters["embedding.weight"]),
        trained_length=trained_length,
        context_length=context_length,
        rotary_scaling=None if source.dynamic_ntk else source.rotary_scaling,
        logn=False,
        attention_windows=windows,
    )


def adapt(parameters: Parameters, source: ModelConfig, target: ModelConfig) -> Parameters:
    """The target's parameters: key-value heads repeated or merged, zero biases and a head added or left out."""
    adapted = dict(parameters)
    if target.tied_head:
        adapted.pop("head.weight", None)
    elif source.tied_head:
        adapted["head.weight"] = parameters["embedding.weight"]
    for layer in range(source.num_layers):
        name = f"layers.{layer}.attention.qkv"
        weight = parameters[f"{name}.weight"]
        if target.qkv_bias and not source.qkv_bias:
            adapted[f"{name}.bias"] = Zeros(weight.shape[:1], dtype_of(weight))
        if source.num_kv_heads != target.num_kv_heads:
            heads = torch.arange(target.num_kv_heads) * source.num_kv_heads // target.num_kv_heads
            rows = _qkv_rows(source, heads)
            for kind in ("weight", "bias") if target.qkv_bias else ("weight",):
                adapted[f"{name}.{kind}"] = SelectedRows(adapted[f"{name}.{kind}"], rows)
    return adapted


def tensors_from(
    parameters: Parameters, config: ModelConfig, *, names: Names
) -> Iterator[tuple[str, str, StoredTensor]]:
    """Yield (name of the tensor, name of the parameter, values) for every tensor of a format."""
    for name, place in tensors_of(config, names=names).items():
        stored = parameters[place.parameter]
        if place.num_rows is not None:
            rows = place.first_row + torch.arange(place.num_rows)
            if heads := place.interleaved_heads:
                rows = rows.view(heads, 2, -1).transpose(1, 2).flatten()
            stored = SelectedRows(stored, rows)
        yield name, place.parameter, stored


def _qkv_rows(config: ModelConfig, heads: Tensor) -> Tensor:
    """The rows of a `qkv` matrix that keep all queries, and the keys and values of these key-value `heads`."""
    size = config.head_size
    key_rows = (heads[:, None] * size + torch.arange(size)).flatten() + config.num_heads * size
    return torch.cat((torch.arange(config.num_heads * size), key_rows, key_rows + config.num_kv_heads * size))


def _fewest_kv_heads(config: ModelConfig, parameters: Parameters) -> int:
    """The smallest number of key-value heads that suffices, as heads may be equal copies in groups of one size."""
    for count in range(1, config.num_kv_heads):
        if config.num_kv_heads % count == 0:
            group = config.num_kv_heads // count
            rows = _qkv_rows(config, torch.arange(config.num_kv_heads) // group * group)
            if all(
                _equal(stored, SelectedRows(stored, rows))
                for name, stored in parameters.items()
                if ".attention.qkv." in name
            ):
                return count
    return config.num_kv_heads


def _equal(first: StoredTensor, second: StoredTensor) -> bool:
    """Whether two tensors of one shape hold the same numbers."""
    blocks = zip(row_blocks(first), row_blocks(second), strict=True)
    return all(torch.equal(rows, other_rows) for (_, rows), (_, other_rows) in blocks)
