"""A step's gradients on several ranks beside those of one process that adds up as many parts: `train.py ranks` runs it.

torchrun --standalone --nproc-per-node 2 benchmarks/rank_gradients.py
"""

from __future__ import annotations

import json

import torch
from torch import Tensor

from qwen7b.train.initial import new_model
from qwen7b.train.loop import Spikes, take_step
from qwen7b.train.mesh_settings import MeshSettings
from qwen7b.train.micro_batch import MicroBatch, shared_out
from qwen7b.train.optimizer_settings import AdamW
from qwen7b.train.optimizers import Optimizers
from qwen7b.train.ranks import ALONE, Ranks, joined_ranks
from qwen7b.train.recipe import Shape, Training


class KeptGradients(Optimizers):
    """Keeps a step's gradients, clipped, and changes no weight."""

    def step(self, *, rate: float) -> None:
        gradients = {name: parameter.grad for name, parameter in self.trained.items()}
        self.gradients = {name: gradient for name, gradient in gradients.items() if gradient is not None}


def gradients_of(parts: list[MicroBatch], ranks: Ranks, *, max_grad_norm: float) -> dict[str, Tensor]:
    shape = Shape(hidden_size=128, num_layers=3, num_heads=4, feed_forward_size=352, family="qwen2")
    model = new_model(shape.config(vocab_size=2000, length=64), seed=0, ranks=ranks)
    optimizers = KeptGradients(AdamW(), model)
    own = shared_out(len(parts), parts.__getitem__, rank=ranks.rank, num_ranks=ranks.num_ranks)
    settings = Training(steps=9, max_grad_norm=max_grad_norm)
    take_step(model, optimizers, own, settings, step=0, spikes=Spikes(9.0), ranks=ranks)
    return {name: ranks.whole(gradient) for name, gradient in optimizers.gradients.items()}


def main() -> None:
    torch.set_num_threads(1)
    with joined_ranks(MeshSettings(), device="cpu") as ranks:
        torch.manual_seed(0)
        parts = []
        for _ in range(ranks.num_ranks):
            ids = [torch.randint(0, 2000, (65,)) for _ in range(4)]
            parts.append(
                MicroBatch(sequences=tuple(row[:-1] for row in ids), targets=torch.cat([row[1:] for row in ids]))
            )
        results: dict[str, object] = {"ranks": ranks.num_ranks}
        for name, limit in (("as they are", 1e9), ("clipped", 0.1)):
            shared = gradients_of(parts, ranks, max_grad_norm=limit)
            alone = gradients_of(parts, ALONE, max_grad_norm=limit)
            results[name] = {
                "tensors": len(alone),
                "bit_equal": all(torch.equal(shared[key], alone[key]) for key in alone),
                "max_difference": max(float((shared[key] - alone[key]).abs().max()) for key in alone),
                "largest": max(float(gradient.abs().max()) for gradient in alone.values()),
            }
        if ranks.rank == 0:
            print(json.dumps(results))


if __name__ == "__main__":
    main()
