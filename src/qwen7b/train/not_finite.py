"""Where numbers stop being numbers: which module of a model is the first to make a NaN or an infinity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from qwen7b.model import Transformer
from qwen7b.train.micro_batch import MicroBatch
from qwen7b.train.objective import Objective, next_token_loss
from qwen7b.train.ranks import ALONE, Ranks


@torch.no_grad()
def first_not_finite(
    model: Transformer,
    batches: Sequence[MicroBatch],
    *,
    dtype: torch.dtype,
    objective: Objective = next_token_loss,
    ranks: Ranks = ALONE,
) -> str:
    """Say which weight, or which module's output or gradient, is not finite; the batches are computed once more."""
    # Every rank looks at the same things in the same order, whatever it finds: the others wait for it.
    return (
        ranks.first_found(_weight(model, ranks))
        or ranks.first_found(_output(model, batches, objective, dtype=dtype, ranks=ranks))
        or ranks.first_found(_gradient(model, ranks))
        or "the sum of losses or gradients overflows, though none of them does"
    )


def _weight(model: Transformer, ranks: Ranks) -> str | None:
    for name, parameter in model.named_parameters():
        if not ranks.own(parameter)[1].isfinite().all():
            return f"the weight {name} is not finite"
    return None


def _output(
    model: Transformer, batches: Sequence[MicroBatch], objective: Objective, *, dtype: torch.dtype, ranks: Ranks
) -> str | None:
    first = None
    for number, batch in enumerate(batches):
        with _watched(model) as found:
            loss = ranks.run(objective, model, batch, dtype=dtype).total
        if found:
            first = first or f"the output of {found[0]} is not finite, in micro-batch {number}"
        elif not loss.isfinite():
            first = first or f"the logits are not finite, in micro-batch {number}"
    return first


def _gradient(model: Transformer, ranks: Ranks) -> str | None:
    # From the loss down: the gradients of the last module are the first that are computed.
    for name, parameter in reversed([*model.named_parameters()]):
        if parameter.grad is not None and not ranks.own(parameter.grad)[1].isfinite().all():
            return f"the gradient of {name} is not finite"
    return None


@contextmanager
def _watched(model: nn.Module) -> Iterator[list[str]]:
    """Note the modules whose output is not finite, in the order in which they are computed."""
    found: list[str] = []

    def watch(name: str) -> object:
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            if isinstance(output, Tensor) and output.is_floating_point() and not output.isfinite().all():
                found.append(name)

        return hook

    hooks = [module.register_forward_hook(watch(name)) for name, module in model.named_modules() if name]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
