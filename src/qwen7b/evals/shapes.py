"""Models of a known shape with random weights, for measuring speed and memory, which do not depend on the values."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from qwen7b.config import Family, ModelConfig
from qwen7b.config.rotary_scaling import DynamicNtk
from qwen7b.errors import SettingError
from qwen7b.loading.packed_weights import AUTO, choose_format
from qwen7b.loading.placement import NONE
from qwen7b.model import Transformer
from qwen7b.model.empty_model import empty_model
from qwen7b.model.parameter_shapes import parameter_shapes
from qwen7b.packed.formats import Format, find_format
from qwen7b.packed.layout import Layout, packed_layout
from qwen7b.packed.packed_model import packed_model
from qwen7b.system.memory import require_memory


def _first_generation(
    *, hidden_size: int, num_layers: int, num_heads: int, feed_forward_size: int, vocab_rows: int = 151936
) -> ModelConfig:
    return ModelConfig(
        family=Family.QWEN,
        vocab_rows=vocab_rows,
        hidden_size=hidden_size,
        num_layers=num_layers,
        num_heads=num_heads,
        num_kv_heads=num_heads,
        head_size=128,
        feed_forward_size=feed_forward_size,
        norm_epsilon=1e-6,
        rope_base=10000.0,
        trained_length=8192,
        context_length=32768,
        qkv_bias=True,
        tied_head=False,
        rotary_scaling=DynamicNtk(),
        logn=True,
    )


SHAPES = {
    "1.8b": _first_generation(hidden_size=2048, num_layers=24, num_heads=16, feed_forward_size=5504),
    "7b": _first_generation(hidden_size=4096, num_layers=32, num_heads=32, feed_forward_size=11008),
    "14b": _first_generation(hidden_size=5120, num_layers=40, num_heads=40, feed_forward_size=13696, vocab_rows=152064),
    "demo": ModelConfig(
        family=Family.QWEN2,
        vocab_rows=151936,
        hidden_size=896,
        num_layers=24,
        num_heads=14,
        num_kv_heads=2,
        head_size=64,
        feed_forward_size=4864,
        norm_epsilon=1e-6,
        rope_base=1e6,
        trained_length=32768,
        context_length=32768,
        qkv_bias=True,
        tied_head=True,
    ),
}
_STANDARD_DEVIATION = 0.02
"""The approximate standard deviation of the weights."""
_NUM_DRAWN = 1 << 20
"""How many random numbers are drawn; larger tensors repeat them."""


def random_model(shape: str, *, quantize: str | None = None, dtype: torch.dtype = torch.float32) -> Transformer:
    """A model of that shape in a weight format ("auto" as for a checkpoint), or unquantized in `dtype`.

    Weights are drawn in the format that they stay in, so that nothing larger is ever held. Raises SettingError for
    an unknown shape or format, ResourceError where the model does not fit.

    >>> random_model("7b", quantize="q4")  # doctest: +SKIP
    """
    if shape not in SHAPES:
        raise SettingError(f"a shape must be one of {', '.join(SHAPES)}, found {shape!r}")
    config = SHAPES[shape]
    format: Format | None = None
    if quantize is None or quantize == NONE:
        layout: Layout = {name: (dtype, shape) for name, shape in parameter_shapes(config).items()}
    else:
        format = choose_format(config) if quantize == AUTO else find_format(quantize)
        if dtype != torch.float32:
            raise SettingError(f"packed weights compute in float32, found dtype {dtype}: leave out dtype or quantize")
        layout = packed_layout(config, format)
    require_memory(
        sum(kind.itemsize * math.prod(size) for kind, size in layout.values()),
        device=torch.device("cpu"),
        what=f"a model of the shape {shape}",
        remedy="take a smaller shape or fewer bits",
    )
    tensors = {name: _random_tensor(name, kind, size) for name, (kind, size) in layout.items()}
    if format is not None:
        for name, tensor in tensors.items():
            if name.endswith(".codebook"):
                tensor.copy_(torch.tensor(format.codebooks_of(name)[0]))
        return packed_model(config, tensors, format=format)
    model = empty_model(config)
    model.load_state_dict(tensors, assign=True, strict=not config.tied_head)
    if config.tied_head:
        model.head.weight = model.embedding.weight
    return model.eval()


def _random_tensor(name: str, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    tensor = torch.empty(shape, dtype=dtype)
    if name.endswith(".scales"):
        return tensor.fill_(_STANDARD_DEVIATION / 74)  # 74 is the standard deviation of random int8 values
    if tensor.dim() == 1 or name.endswith(".pair_sizes"):
        return tensor.fill_(0 if name.endswith(".bias") else 1)
    if dtype == torch.uint8:
        draw = torch.randint(256, (_NUM_DRAWN,), dtype=dtype)
    elif dtype == torch.int8:
        draw = torch.randint(-127, 128, (_NUM_DRAWN,), dtype=dtype)
    else:
        draw = torch.randn(_NUM_DRAWN).mul_(_STANDARD_DEVIATION).to(dtype)
    for part in torch.split(tensor.view(-1), _NUM_DRAWN):
        part.copy_(draw[: len(part)])
    return tensor
