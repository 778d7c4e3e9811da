"""Where numbers stop being numbers: which module of a model is the first to make a NaN or an infinity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from qwen7b.model import Transformer
from qwen7b.train.micro_batch import MicroBatch
from qwen7b.train.objective import Objective, next_token_loss


class _FoundError(Exception):
    """Ends a forward at the first module whose output is not finite."""


def first_not_finite(
    model: Transformer, batches: Sequence[MicroBatch], *, dtype: torch.dtype, objective: Objective = next_token_loss
) -> str:
    """Say which weight, or which module's output or gradient, is not finite; the batches are computed once more."""
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            return f"the weight {name} is not finite"
    for number, batch in enumerate(batches):
        try:
            with _watched(model):
                loss = objective(model, batch, dtype=dtype).total
        except _FoundError as found:
            return f"the output of {found} is not finite, in micro-batch {number}"
        if not loss.isfinite():
            return f"the logits are not finite, in micro-batch {number}"
    # From the loss down: the gradients of the last module are the first that are computed.
    for name, parameter in reversed([*model.named_parameters()]):
        if parameter.grad is not None and not parameter.grad.isfinite().all():
            return f"the gradient of {name} is not finite"
    return "the sum of losses or gradients overflows, though none of them does"


@contextmanager
def _watched(model: nn.Module) -> Iterator[None]:
    def watch(name: str) -> object:
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            if isinstance(output, Tensor) and output.is_floating_point() and not output.isfinite().all():
                raise _FoundError(name)

        return hook

    hooks = [module.register_forward_hook(watch(name)) for name, module in model.named_modules() if name]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
