"""How a model's weights are put into other modules: packed, or left on the disk."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from qwen7b.config import ModelConfig
from qwen7b.model.layers import RMSNorm
from qwen7b.model.transformer import Transformer


def home_of(name: str, config: ModelConfig) -> str:
    """The module whose weight the named one has: a tied head has the embedding's."""
    return "embedding" if name == "head" and config.tied_head else name


def rebuild(
    model: Transformer,
    *,
    embedding: Callable[[str, nn.Embedding], nn.Module],
    linear: Callable[[str, nn.Linear], nn.Module],
    norm: Callable[[str], Tensor],
) -> None:
    """Replace the embedding and every linear layer by what is made of it, and give the norms their weights.

    Each is asked for by the name of its module, the head too where it shares the embedding's weight.
    """
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Embedding):
            model.set_submodule(name, embedding(name, module))
        elif isinstance(module, nn.Linear):
            model.set_submodule(name, linear(name, module))
        elif isinstance(module, RMSNorm):
            module.weight = nn.Parameter(norm(f"{name}.weight"), requires_grad=False)
