"""What tests that two ranks run need: the group, the gradients of a step, and runs that are stopped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from qwen7b.model import Transformer
from qwen7b.train.loop import Spikes, take_step
from qwen7b.train.mesh_settings import MeshSettings
from qwen7b.train.micro_batch import NOTHING, MicroBatch, shared_out
from qwen7b.train.objective import Objective, next_token_loss
from qwen7b.train.optimizer_settings import AdamW
from qwen7b.train.optimizers import Optimizers
from qwen7b.train.rank_group import RankGroup
from qwen7b.train.ranks import Ranks, joined_ranks
from qwen7b.train.run_log import StepRecord
from train.tiny_training import settings


@pytest.fixture(scope="session")
def joined() -> Iterator[Ranks]:
    with joined_ranks(MeshSettings(timeout=60), device="cpu") as ranks:
        assert ranks.num_ranks == 2
        yield ranks


@pytest.fixture(params=[2, 1], ids=["sharded", "copied"])
def ranks(joined: Ranks, request: pytest.FixtureRequest) -> Ranks:
    """One copy in two shards, or two copies."""
    return RankGroup(MeshSettings(shards=request.param), device=torch.device("cpu"))


class KeptGradients(Optimizers):
    """Keeps the gradients of a step, and changes no weight."""

    def step(self, *, rate: float) -> None:
        self.gradients = {name: parameter.grad for name, parameter in self.trained.items()}


def gradients_of(
    model: Transformer,
    parts: list[MicroBatch],
    ranks: Ranks,
    *,
    dtype: torch.dtype = torch.float32,
    objective: Objective = next_token_loss,
    nothing: MicroBatch = NOTHING,
    **changes: Any,
) -> tuple[StepRecord, dict[str, Tensor]]:
    optimizers, recipe = KeptGradients(AdamW(), model), settings(**changes)
    own = shared_out(len(parts), parts.__getitem__, nothing=nothing, rank=ranks.rank, num_ranks=ranks.num_ranks)
    record = take_step(
        model,
        optimizers,
        own,
        recipe,
        step=0,
        spikes=Spikes(9.0),
        dtype=dtype,
        objective=objective,
        ranks=ranks,
    )
    return record, {name: ranks.whole(gradient) for name, gradient in optimizers.gradients.items()}


class StoppedError(Exception):
    """Ends a run as if it were killed."""


def contents(run: Path) -> dict[str, Any]:
    """What the files of a run's only step hold, but for the length of its log: norms that are sums of more parts may
    have another last digit, and so be written with more."""
    (step,) = (run / "steps").iterdir()
    state = {**json.loads((step / "state.json").read_bytes()), "log_bytes": ...}
    return {path.name: path.read_bytes() for path in sorted(step.iterdir())} | {"state.json": state}


def stop_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have runs end before a step, counted from 0."""

    def stopped(*args: Any, **given: Any) -> StepRecord:
        if given["step"] == step:
            raise StoppedError
        return take_step(*args, **given)

    monkeypatch.setattr("qwen7b.train.loop.take_step", stopped)
