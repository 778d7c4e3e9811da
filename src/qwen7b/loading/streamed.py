"""A model whose weights stay on the disk: slow, but any size computes within a few hundred megabytes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qwen7b.checkpoint.checkpoint import Checkpoint
from qwen7b.checkpoint.parameters import parameters_of
from qwen7b.files.stored import StoredTensor, row_ranges
from qwen7b.model import Transformer
from qwen7b.model.empty_model import empty_model
from qwen7b.model.rebuilding import rebuild, weight_owner
from qwen7b.system.workers import Workers


def streamed_model(checkpoint: Checkpoint, threads: Workers) -> Transformer:
    """The checkpoint's model in float32; every pass reads all weights again, a block of rows at a time."""
    config, parameters = checkpoint.config, parameters_of(checkpoint)

    def linear(name: str, module: nn.Linear) -> StreamedLinear:
        bias = parameters.get(f"{name}.bias")
        return StreamedLinear(
            parameters[f"{weight_owner(name, config)}.weight"], None if bias is None else _whole(bias), threads
        )

    model = empty_model(config)
    rebuild(
        model,
        embedding=lambda name, module: StreamedEmbedding(parameters[f"{name}.weight"]),
        linear=linear,
        norm=lambda name: _whole(parameters[name]),
    )
    return model.eval()


class StreamedLinear(nn.Module):
    """A linear layer that reads its weight from the disk in every pass."""

    def __init__(self, weight: StoredTensor, bias: Tensor | None, threads: Workers) -> None:
        super().__init__()
        self.weight, self.bias, self.threads = weight, bias, threads

    def forward(self, x: Tensor) -> Tensor:
        # One tensor for the result: small ones allocated between large blocks would fragment the heap.
        y = x.new_empty(*x.shape[:-1], self.weight.shape[0])

        def compute(start: int, stop: int) -> None:
            y[..., start:stop] = F.linear(x, self.weight.read_rows(start, stop).float())

        self.threads.run(compute, row_ranges(self.weight))
        return y if self.bias is None else y + self.bias


class StreamedEmbedding(nn.Module):
    """An embedding that reads each row from the disk when it is looked up."""

    def __init__(self, weight: StoredTensor) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, ids: Tensor) -> Tensor:
        rows = [self.weight.read_rows(id, id + 1).float() for id in ids.flatten().tolist()]
        return torch.cat(rows).view(*ids.shape, -1)


def _whole(stored: StoredTensor) -> Tensor:
    return stored.read_rows(0, stored.shape[0]).float()
