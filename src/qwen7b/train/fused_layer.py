"""A layer as training computes it on a CPU: the model's own modules, and between their products the kernels.

The model's own forward is the readable twin: PyTorch makes a pass over memory of each of its operations, and of each
operation's gradient, which together take as long as the products.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from qwen7b import kernels
from qwen7b.kernels.constants import MAX_THREADS
from qwen7b.kernels.native import library
from qwen7b.kernels.training import DTYPES, AddAndNormalize, CausalAttention, Gate, SplitIntoHeads
from qwen7b.model import Cache, Transformer
from qwen7b.model.layers import Attention, Layer, RMSNorm, attend
from qwen7b.model.masks import attention_mask
from qwen7b.model.rows import Group, Rows

_SHORT = 256
"""The longest sequence whose attention keeps its probabilities, which take less than the rest of a layer: in bfloat16
that costs half of what PyTorch's does, in float32 as much."""


@contextmanager
def fused_layers(model: Transformer) -> Iterator[None]:
    """Have a model's layers computed so for a while, where the kernels can; they are called as ever.

    The kernels then run on as many threads as PyTorch: several ranks on a machine share its cores.
    """
    layers = [layer for layer in model.layers if isinstance(layer, Layer)]
    if model.device.type != "cpu" or library() is None or model.dtype not in DTYPES:
        layers = []
    forwards: dict[nn.Module, Callable[..., Tensor]] = {layer: partial(run_fused, layer) for layer in layers}
    if forwards:
        forwards[model.norm] = partial(_normalized, model.norm)
    num_threads = kernels.num_threads()
    if num_threads is not None and forwards:
        kernels.set_num_threads(min(torch.get_num_threads(), MAX_THREADS))
    for module, forward in forwards.items():
        vars(module)["forward"] = forward  # and nothing around the module, so that its hooks are called
    try:
        yield
    finally:
        for module in forwards:
            del vars(module)["forward"]
        if num_threads is not None and forwards:
            kernels.set_num_threads(num_threads)


def run_fused(layer: Layer, x_RC: Tensor, rows: Rows, cache: Cache | None) -> Tensor:
    """What `Layer.forward` computes without a cache, adapters of the engine and LogN, which training has none of."""
    assert cache is None and not rows.adapted and rows.query_scale is None
    x_RC, normal_RC = _added_and_normalized(layer.attention_norm, x_RC, None)
    attended_RC = _attend(layer.attention, normal_RC, rows)
    x_RC, normal_RC = _added_and_normalized(layer.feed_forward_norm, x_RC, attended_RC)
    feed_forward = layer.feed_forward
    hidden = Gate.apply(feed_forward.gate(normal_RC), feed_forward.up(normal_RC))  # type: ignore[no-untyped-call]
    return x_RC + feed_forward.down(hidden)  # type: ignore[no-any-return]


def _added_and_normalized(norm: RMSNorm, x_RC: Tensor, added_RC: Tensor | None) -> tuple[Tensor, Tensor]:
    """The sum and its norm, in the dtype in which products are computed."""
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x_RC.dtype
    both: tuple[Tensor, Tensor] = AddAndNormalize.apply(  # type: ignore[no-untyped-call]
        x_RC, added_RC, norm.weight.float(), norm.epsilon, dtype
    )
    return both


def _normalized(norm: RMSNorm, x_RC: Tensor) -> Tensor:
    return _added_and_normalized(norm, x_RC, None)[1]


def _attend_within(group: Group, query_RHD: Tensor, key_RKD: Tensor, value_RKD: Tensor) -> Tensor:
    parts = [group.cut(part).permute(2, 0, 1, 3) for part in (query_RHD, key_RKD, value_RKD)]  # (heads, G, T, D)
    num_sharing = len(parts[0]) // len(parts[1])
    if num_sharing > 1:
        parts[1:] = [part.repeat_interleave(num_sharing, dim=0) for part in parts[1:]]
    mixed = CausalAttention.apply(*(part.flatten(0, 1) for part in parts))  # type: ignore[no-untyped-call]
    return mixed.view(parts[0].shape).permute(1, 2, 0, 3).flatten(0, 1).flatten(1)  # type: ignore[no-any-return]


def _attend(attention: Attention, x_RC: Tensor, rows: Rows) -> Tensor:
    joined = attention.qkv(x_RC)
    sizes = attention.num_heads, attention.num_kv_heads, attention.num_kv_heads
    query_RHD, key_RKD, value_RKD = SplitIntoHeads.apply(  # type: ignore[no-untyped-call]
        joined.view(len(joined), -1, attention.head_size), rows.cos, rows.sin, sizes
    )
    mixed = []
    for group in rows.groups:
        mask = attention_mask(rows, group, layer=attention.layer, cache=None)
        if mask is None and group.num_new <= _SHORT and joined.dtype != torch.float32:
            mixed.append(_attend_within(group, query_RHD, key_RKD, value_RKD))
        else:
            parts = (group.cut(part).transpose(1, 2) for part in (query_RHD, key_RKD, value_RKD))
            mixed.append(attend(*parts, mask=mask))
    return attention.output(mixed[0] if len(mixed) == 1 else torch.cat(mixed))  # type: ignore[no-any-return]
