"""Replaces a model's modules by others, whose weights are packed or stay on the disk."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from qwen7b.config import ModelConfig
from qwen7b.model.layers import RMSNorm
from qwen7b.model.transformer import Transformer


def weight_owner(name: str, config: ModelConfig) -> str:
    """The name of the module that owns the named module's weight: for a tied head it is the embedding."""
    return "embedding" if name == "head" and config.tied_head else name


def rebuild(
    model: Transformer,
    *,
    embedding: Callable[[str, nn.Embedding], nn.Module],
    linear: Callable[[str, nn.Linear], nn.Module],
    norm: Callable[[str], Tensor],
) -> None:
    """Replace the embedding and every linear layer by what `embedding` and `linear` return, and set the norms' weights.

    The functions get the name of the module, also that of a head that shares the embedding's weight.
    """
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Embedding):
            model.set_submodule(name, embedding(name, module))
        elif isinstance(module, nn.Linear):
            model.set_submodule(name, linear(name, module))
        elif isinstance(module, RMSNorm):
            module.weight = nn.Parameter(norm(f"{name}.weight"), requires_grad=False)
